"""The registry over HTTP, on both databases: what is registered, by whom, and what everybody else sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import ADMIN, ALICE, BOB, READER, STRANGER
from tests.support.registry_server import CONFIG, ENTRIES, KINDS, Registry, at_once, registry, without_names
from tests.support.serving import parsed, request_of

NOBODY = "X-Nobody: 1"
BY_NAME = ["GET", "HEAD", "DELETE"]


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("registry"), postgres) as running:
        yield running


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Registry]:
    """The same without OPA."""
    with registry(opa_binary, tmp_path_factory.mktemp("silent"), postgres, start=False) as running:
        yield running


@pytest.mark.parametrize("kind", ENTRIES)
@pytest.mark.parametrize("name", ["plain-{}", "meta/guard 8B-{}", "basic::größer 😀-{}", "a*b+c&d=e;f-{}", "..{}"])
def test_what_is_registered_is_shown_until_it_is_removed(kept: Registry, kind: str, name: str) -> None:
    name = name.format(kind)
    answer = kept.register(kind, name)
    assert answer.status == 200, answer.body
    shown = answer.json
    others = dict(ENTRIES[kind].others)
    assert shown.items() >= {"id": name, "identifier": name, "provider_resource_id": name}.items()
    assert shown.items() >= {"provider_id": others.pop("provider_id", None), **others}.items()
    assert shown.get("metadata", {}) == others.get("metadata", {})
    assert kept.get(kind, name).json == shown
    assert shown in kept.get(kind).json["data"]
    removed = kept.get(kind, name, method="DELETE")
    assert (removed.status, removed.json) == (200, {"id": name, "object": shown["object"], "deleted": True})
    assert kept.get(kind, name).status == kept.get(kind, name, method="DELETE").status == 404
    assert name not in kept.listed(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", BY_NAME)
def test_what_another_has_is_what_no_caller_has(kept: Registry, kind: str, method: str) -> None:
    made = kept.registered(kind)
    missing = made[:-1] + "-"
    answers = [without_names(kept.get(kind, name, BOB, method), name) for name in (made, missing)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert made not in kept.listed(kind, BOB)
    assert kept.get(kind, made).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_read_but_not_change_is_told_so(kept: Registry, kind: str) -> None:
    made = kept.registered(kind)
    assert kept.get(kind, made, READER).status == 200
    assert made in kept.listed(kind, READER)
    refused = kept.get(kind, made, READER, "DELETE")
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert kept.get(kind, made).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_not_register_is_refused_and_leaves_nothing(kept: Registry, kind: str) -> None:
    refused = kept.register(kind, "refused", READER)
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert "refused" not in str(kept.listed(kind, ADMIN))


@pytest.mark.parametrize("kind", KINDS)
def test_rules_about_names_hold_for_what_is_to_be_registered(kept: Registry, kind: str) -> None:
    assert kept.register(kind, "reserved-for-later").status == 403
    # Who may not register under a name does not learn whether it is taken.
    assert kept.register(kind, "reserved-now", ADMIN).status == 200
    assert kept.register(kind, "reserved-now").status == 403


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_taken_whoever_has_it(kept: Registry, kind: str) -> None:
    mine, other = f"{kind}-of-alice", f"{kind}-of-bob"
    shown = kept.register(kind, mine).json
    kept.register(kind, other, BOB)
    conflicts = [without_names(kept.register(kind, name), name) for name in (mine, other)]
    assert conflicts[0] == conflicts[1]
    assert conflicts[0][0] == 409
    assert conflicts[0][1]["x-should-retry"] == "false"
    again = kept.register(kind, mine, BOB, provider_id="inner" if kind == "model" else "p2")
    assert again.status in (400, 409)
    assert kept.get(kind, shown["id"]).json == shown
    assert kept.get(kind, shown["id"], BOB).status == 404


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_was_given_back_is_its_next_owners(kept: Registry, kind: str) -> None:
    made = kept.register(kind, f"passed-on-{kind}").json["id"]
    assert kept.get(kind, made, method="DELETE").status == 200
    assert kept.register(kind, f"passed-on-{kind}", BOB).status == 200
    assert kept.get(kind, made, BOB).status == 200
    assert kept.get(kind, made).status == kept.get(kind, made, method="DELETE").status == 404
    assert kept.get(kind, made, BOB).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_who_want_a_name_one_gets_it(kept: Registry, kind: str) -> None:
    name, callers = f"wanted-{kind}", [f"Authorization: Bearer user-{number}" for number in range(8)]
    path = KINDS[kind].path
    answers = at_once(kept, [request_of("POST", path, caller, body=KINDS[kind].body(name)) for caller in callers])
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [200] + [409] * 7
    made = next(answer.json["id"] for answer in answers if answer.status == 200)
    winner = callers[statuses.index(200)]
    assert [kept.get(kind, made, caller).status for caller in callers] == statuses_of(callers, winner)


def statuses_of(callers: list[str], owner: str) -> list[int]:
    return [200 if caller == owner else 404 for caller in callers]


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_who_remove_something_one_does(kept: Registry, kind: str) -> None:
    made = kept.registered(kind)
    target = f"{KINDS[kind].path}/{made}"
    removal = f"DELETE {target} HTTP/1.1\r\nHost: here\r\n{ALICE}\r\n\r\n".encode()
    reading = f"GET {target} HTTP/1.1\r\nHost: here\r\n{ALICE}\r\n\r\n".encode()
    answers = at_once(kept, [removal, reading] * 4)
    assert sorted(answer.status for answer in answers[::2]) == [200, 404, 404, 404]
    assert {answer.status for answer in answers[1::2]} <= {200, 404}
    assert kept.get(kind, made).status == 404


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "claimed",
    [
        {"owner_principal": "bob"},
        {"owner": {"principal": "bob"}},
        {"access_attributes": {"roles": ["admin"]}},
        {"id": "another"},
        {"identifier": "another"},
        {"created_at": 0},
        {"origin": "config"},
        {"type": "model"},
    ],
)
def test_no_body_says_whose_it_is(kept: Registry, kind: str, claimed: dict[str, object]) -> None:
    refused = kept.register(kind, "claimed", **claimed)
    assert (refused.status, refused.error["code"]) == (400, "unknown_parameter")
    assert refused.error["param"] == next(iter(claimed))
    assert "claimed" not in str(kept.listed(kind, ADMIN))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_full_pages_of_what_one_may_read(kept: Registry, kind: str) -> None:
    caller = f"Authorization: Bearer lister-{kind}"
    before = kept.listed(kind, caller)
    mine = []
    for _ in range(5):
        mine.append(kept.registered(kind, caller))
        kept.registered(kind, BOB)
    everything = [*before, *mine]
    assert kept.listed(kind, caller) == everything
    for limit in range(1, len(everything) + 2):
        pages, after = [], ""
        while True:
            page = kept.house.address.get(f"{KINDS[kind].path}?limit={limit}{after}", caller).json
            pages.append([entry["id"] for entry in page["data"]])
            assert (page["first_id"], page["last_id"]) == (pages[-1][0], pages[-1][-1])
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert [name for page in pages for name in page] == everything
        assert all(len(page) == limit for page in pages[:-1])
    assert 0 < len(pages[-1]) <= limit


@pytest.mark.parametrize("kind", KINDS)
def test_a_cursor_that_one_may_not_read_is_none(kept: Registry, kind: str) -> None:
    made = kept.registered(kind)
    path, missing = KINDS[kind].path, f"{made[:-1]}-"
    foreign, nothing = (
        without_names(kept.house.address.get(f"{path}?after={name}", BOB), name) for name in (made, missing)
    )
    assert foreign == nothing
    assert foreign[0] == 404


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_is_closed_without_leave_to_use_it(kept: Registry, silent: Registry, kind: str) -> None:
    made = kept.registered(kind)
    for caller, status in ((STRANGER, 403), (NOBODY, 401)):
        assert kept.get(kind, caller=caller).status == status
        assert kept.register(kind, "closed", caller).status == status
        assert [kept.get(kind, made, caller, method).status for method in BY_NAME] == [status] * 3
    assert silent.get(kind).status == silent.register(kind, "silent").status == 503
    assert [silent.get(kind, "anything", method=method).status for method in BY_NAME] == [503] * 3
    assert kept.get(kind, made).status == 200


def test_what_is_registered_outlives_the_server_and_is_seen_by_others(
    opa_binary: Path, tmp_path: Path, postgres: str | None
) -> None:
    with registry(opa_binary, tmp_path, postgres) as first, registry(opa_binary, tmp_path, like=first) as second:
        made = {kind: first.registered(kind) for kind in KINDS}
        for kind, name in made.items():
            assert second.get(kind, name).json == first.get(kind, name).json
            assert second.get(kind, name, BOB).status == 404
        assert second.register("shield", made["shield"], BOB).status == 409
        assert second.get("shield", made["shield"], method="DELETE").status == 200
        assert first.get("shield", made.pop("shield")).status == 404
    with registry(opa_binary, tmp_path, like=first) as third:
        for kind, name in made.items():
            assert third.get(kind, name).status == 200
            assert third.listed(kind, BOB) == (["echo/open-1"] if kind == "model" else [])


def test_what_was_registered_without_authentication_is_no_callers_afterwards(
    opa_binary: Path, tmp_path: Path, postgres: str | None
) -> None:
    off = CONFIG.replace(
        """        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}\n""", ""
    )
    with registry(opa_binary, tmp_path, postgres, text=off, authenticator=None) as first:
        made = {kind: first.registered(kind, NOBODY) for kind in KINDS}
        assert all(first.get(kind, name, NOBODY).status == 200 for kind, name in made.items())
    with registry(opa_binary, tmp_path, like=first) as second:
        for kind, name in made.items():
            for caller in (ALICE, "Authorization: Bearer null", "Authorization: Bearer None"):
                assert second.get(kind, name, caller).status == second.get(kind, name, caller, "DELETE").status == 404
                assert name not in second.listed(kind, caller)
            assert second.get(kind, name, ADMIN, "DELETE").status == 200


def test_a_refused_request_is_refused_before_its_body_is_read(kept: Registry) -> None:
    head = "POST /v1/shields HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    assert parsed(kept.house.address.exchange(head.encode())).status == 401
