"""Models as Anthropic's clients list them: with `anthropic-version`, in their form and with their credential."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.callers import ALICE
from tests.support.responses_server import Responding, responding
from tests.support.serving import Answer

VERSION, KEY = "anthropic-version: 2023-06-01", "x-api-key: alice"
MODELS = "/v1/models"


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("models")) as running:
        yield running


def got(place: Responding, target: str = MODELS, *headers: str) -> Answer:
    return place.house.address.ask("GET", target, *(headers or (KEY, VERSION)))


def test_a_list_has_the_form_that_clients_read(place: Responding) -> None:
    names = [model["id"] for model in got(place, MODELS, ALICE).json["data"]]
    for target in (MODELS, f"{MODELS}/", f"{MODELS}?beta=true"):
        found = got(place, target).json
        assert (found["has_more"], found["first_id"], found["last_id"]) == (False, names[0], names[-1])
        assert [model["id"] for model in found["data"]] == names
    shown = got(place, f"{MODELS}/{names[0]}").json
    assert shown == found["data"][0]
    assert datetime.fromisoformat(shown.pop("created_at")).tzinfo is not None
    assert shown == {"type": "model", "id": names[0], "display_name": names[0], "lifecycle": "active"}


def test_pages_follow_each_other_both_ways(place: Responding) -> None:
    names = [model["id"] for model in got(place).json["data"]]
    assert len(names) > 1
    forwards, cursor = list[str](), ""
    while True:
        page = got(place, f"{MODELS}?limit=1{cursor}").json
        forwards += [model["id"] for model in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&after_id={page['last_id']}"
    assert forwards == names
    before = got(place, f"{MODELS}?limit=1&before_id={names[-1]}").json
    assert (before["last_id"], before["has_more"]) == (names[-2], len(names) > 2)


def test_an_empty_list_has_no_ends(place: Responding) -> None:
    found = got(place, f"{MODELS}?after_id={got(place).json['last_id']}")
    assert found.json == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_errors_have_their_form_too(place: Responding) -> None:
    for answer, status, kind in (
        (got(place, f"{MODELS}/none"), 404, "not_found_error"),
        (got(place, f"{MODELS}?limit=0"), 400, "invalid_request_error"),
        (got(place, f"{MODELS}?after_id=none"), 404, "not_found_error"),
        (got(place, MODELS, VERSION), 401, "authentication_error"),
        (got(place, MODELS, ALICE, KEY, VERSION), 400, "invalid_request_error"),
    ):
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)


def test_without_their_version_nothing_is_other_than_before(place: Responding) -> None:
    assert got(place, MODELS, ALICE).json["object"] == "list"
    assert got(place, MODELS, ALICE, "x-api-key: bad").status == 200
    assert got(place, MODELS, KEY).status == 401
    # Nor is what changes models.
    made = place.house.address.post(MODELS, {}, KEY, VERSION)
    assert (made.status, made.error["code"]) == (401, "invalid_api_key")
