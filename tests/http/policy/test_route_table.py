"""Every route of the server, asked by callers with each permission and without it, and without a policy engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import bearer
from tests.support.census_server import ADMIN, BLIND, CHANGED, OUTSIDER, PARAMETER, READER, Place, running
from tests.support.registry_server import without_names
from tests.support.route_table import CENSUS, FILE, Found

UNSEEN = {
    "POST /v1/vector-io/insert": "the answer is null",
    "POST /v1/conversations/{conversation_id}/items": "the answer has what the body has",
}
"""Changes that take no permit to read what is changed, and why."""

ANONYMOUS = "X-Nobody: 1"


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(opa_binary, tmp_path_factory.mktemp("census")) as made:
        yield made


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same without OPA."""
    with running(opa_binary, tmp_path_factory.mktemp("silent"), start=False) as made:
        yield made


def without(kind: str) -> str:
    """The header of whoever may do anything, but nothing to resources of this type."""
    return bearer(f"without-{kind.replace('::', '.')}")


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_do_it_does_and_the_policy_is_asked_what_the_census_says(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, ADMIN)
    assert answer.status == 200, answer.body
    log = place.house.log(answer.headers["x-request-id"])
    assert [record["route"].split(" ")[0] for record in log if "route" in record] == [route.split(" ")[0]]
    asked = {(record["action"], record["resource"]) for record in log if "action" in record}
    assert {(action, subject.rpartition("::")[0]) for action, subject in asked} == row.asked | row.shows
    if row.found is Found.BY_PATH:
        assert (row.action, f"{row.kind}::{_last(route, made)}") in asked


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_not_do_it_gets_what_the_census_says(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, without(row.kind))
    match row.found:
        case Found.BY_PATH | Found.BY_BODY:
            missing = {**made, _parameter(route): _last(route, made)[: -len(CHANGED)] + CHANGED}
            nothing = place.send(route, missing, without(row.kind))
            assert without_names(answer, *_said(made)) == without_names(nothing, *_said(missing))
            assert answer.status == 404
        case Found.AS_NEW:
            assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")
        case Found.AS_LIST:
            assert place.send(route, made, ADMIN).json["data"]
            assert (answer.status, answer.json["data"]) == (200, [])
        case Found.NOT_AT_ALL:
            assert answer.status == 200
    for (_, kind), status in row.beside.items():
        assert place.send(route, place.made(route), without(kind)).status == status


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_read_and_not_change_it_is_told_so(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, READER)
    assert answer.status == (403 if row.changes else 200)
    if row.changes:
        assert answer.error["code"] == "insufficient_permissions"
        # Nothing has happened: whoever may do it still can.
        assert place.send(route, made, ADMIN).status == 200


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_do_anything_but_read_is_shown_nothing(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    answer = place.send(route, made, BLIND)
    if row.found is Found.NOT_AT_ALL:
        assert answer.status == 200
    elif row.found is Found.AS_LIST:
        assert answer.status == 404 if row.beside else answer.json["data"] == []
    elif row.found is Found.AS_NEW or route in UNSEEN:
        unread = {("read", "provider"): 400, ("read", FILE): 404}
        assert answer.status == next((status for asked, status in unread.items() if asked in row.beside), 200)
    elif answer.status == 200:
        assert route.startswith("DELETE ")
        assert answer.json.keys() == {"id", "object", "deleted"}
    else:
        assert answer.status == 404


@pytest.mark.parametrize("route", CENSUS)
def test_who_may_not_use_the_route_learns_nothing(place: Place, route: str) -> None:
    row, made = CENSUS[route], place.made(route)
    refused = place.send(route, made, OUTSIDER)
    assert refused.status == 403
    # On routes of Anthropic's clients, errors have a type alone.
    error = refused.json["error"]
    assert error.get("code", error["type"]) in ("insufficient_permissions", "permission_error")
    stranger = place.send(route, made, ANONYMOUS)
    assert stranger.status == (200 if row.is_public else 401)
    if row.found is Found.BY_PATH:
        missing = {**made, _parameter(route): "there-is-none"}
        assert place.send(route, missing, OUTSIDER).status == 403
        assert place.send(route, missing, ANONYMOUS).status == 401


@pytest.mark.parametrize("route", CENSUS)
@pytest.mark.parametrize("caller", ["admin", "outsider"])
def test_without_a_policy_engine_nothing_is_done(silent: Place, route: str, caller: str) -> None:
    made = {parameter: "anything" for parameter, _ in PARAMETER.findall(route)}
    answer = silent.send(route, {"new": "new", "model_id": "open", "shield_id": "words", **made}, bearer(caller))
    assert answer.status == 503
    stranger = silent.send(route, {"new": "new", "model_id": "open", "shield_id": "words", **made}, ANONYMOUS)
    assert stranger.status == 503


def _parameter(route: str) -> str:
    """The parameter with the id of what a request is about: that of the row, the last one, or the name in the body."""
    return CENSUS[route].parameter or next(iter(PARAMETER.findall(route)[-1:]), ("model_id", ""))[0]


def _last(route: str, made: dict[str, str]) -> str:
    return made[_parameter(route)]


def _said(made: dict[str, str]) -> list[str]:
    return sorted(made.values(), key=len, reverse=True)
