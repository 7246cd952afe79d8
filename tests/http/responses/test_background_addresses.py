"""Responses in the background of callers without a token, who are told apart by their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api.responses.background.worker import AT_ONCE_EACH
from tests.support.databases import rows
from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import RESPONSES, Responding, responding

HERE, THERE = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
ALL = "        - permit: {actions: [create, read, update, delete]}\n"


@pytest.fixture(scope="module")
def upstreams() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def far(upstreams: Upstream) -> Upstream:
    upstreams.forget()
    return upstreams


@pytest.fixture(scope="module")
def place(
    postgres: str | None, upstreams: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    folder = tmp_path_factory.mktemp("addresses")
    with responding(opa_binary, folder, postgres, upstream=upstreams.url, policy=ALL, anonymous=True) as running:
        yield running


def later(place: Responding, text: Any, caller: str, **more: Any) -> str:
    made = place.made(text, caller, background=True, **more)
    assert made["status"] == "queued"
    return str(made["id"])


def test_one_address_does_not_take_the_places_of_others(place: Responding, far: Upstream) -> None:
    held = [later(place, "hold", HERE, model="gated") for _ in range(AT_ONCE_EACH)]
    waits, goes = later(place, "wait", HERE), later(place, "go", THERE)
    assert place.over(goes, THERE)["status"] == "completed"
    assert place.ask("GET", f"{RESPONSES}/{waits}", caller=HERE).json["status"] == "queued"
    far.go_on.set()
    for identity in held:
        place.over(identity, HERE)
    assert place.over(waits, HERE)["status"] == "completed"
    # The address was kept with the work alone.
    assert rows(place.database, "SELECT count(*) FROM answers_work")[0][0] == 0


def test_what_was_sealed_for_an_address_opens_for_it_later_too(place: Responding, far: Upstream) -> None:
    compaction = place.ask("POST", f"{RESPONSES}/compact", {"model": "small", "input": "remember 7"}, HERE).json
    asked = [*compaction["output"], {"role": "user", "content": "what was it?"}]
    done = place.over(later(place, asked, HERE, model="m"), HERE)
    assert (done["status"], "remember 7" in str(far.body["messages"])) == ("completed", True)
    foreign = place.create(asked, THERE, background=True)
    assert (foreign.status, foreign.json["error"]["code"]) == (400, "invalid_encrypted_content")
