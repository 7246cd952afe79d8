"""Responses whose caller may keep no more once they are answered: one end, nothing half done, and one charge."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.support.callers import bearer
from tests.support.databases import rows
from tests.support.relay_server import ANSWER, DONE, event, streamed, whole
from tests.support.responses_server import RESPONSES, Responding, responding
from tests.support.scripted_provider import Scripted, scripted, sending

ENDS = {"response.completed", "response.incomplete", "response.failed"}
LONG = "word " * 12_000
LIMITS = "max_bytes: 40000, max_records: 6, max_tokens_per_period: 999"
QUOTA = f"quota: {{kvstore: {{type: sqlite, db_path: FOLDER/q.db}}, {LIMITS}}}"
CHUNK = {**ANSWER, "object": "chat.completion.chunk"}
USAGE = {**CHUNK, "choices": [], "usage": ANSWER["usage"]}
"""Of 5 tokens."""


@pytest.fixture(scope="module")
def far() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: Scripted, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    folder = tmp_path_factory.mktemp("full")
    quota = QUOTA.replace("FOLDER", str(folder))
    with responding(opa_binary, folder, postgres, upstream=far.url, server=quota) as running:
        yield running


def says(far: Scripted, text: str, *, stream: bool) -> None:
    """Have the model say this from now on."""
    far.asked.clear()
    if not stream:
        message = {"role": "assistant", "content": text}
        far.play(sending(whole({**ANSWER, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})))
        return
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]
    far.play(sending(streamed(event({**CHUNK, "choices": choices}), event(USAGE), DONE)))


def left(place: Responding, caller: str) -> int:
    """The tokens that the caller has left."""
    return int(place.ask("GET", "/v1/models", caller=caller).headers["x-ratelimit-remaining-tokens"])


def kept(place: Responding, caller: str) -> list[Any]:
    """The responses that the caller has."""
    found: list[Any] = place.ask("GET", f"{RESPONSES}?limit=100", caller=caller).json["data"]
    return found


@pytest.fixture
def caller() -> str:
    return bearer(f"c{token_hex(4)}")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("limit", ["bytes", "records"])
def test_an_answer_for_which_there_is_no_room_ends_once(
    place: Responding, far: Scripted, caller: str, limit: str, stream: bool
) -> None:
    # A conversation, four responses, and the next one; its two items are too many.
    conversation = place.conversation(caller)
    says(far, "short", stream=False)
    ready = 4 if limit == "records" else 0
    for _ in range(ready):
        place.made(model="m", caller=caller)
    says(far, "short" if limit == "records" else LONG, stream=stream)
    before = left(place, caller)
    answer = place.create(model="m", caller=caller, conversation=conversation, stream=stream)
    if stream:
        events = [loads(each.split(b"data: ")[1]) for each in answer.body.split(b"\n\n")[:-2]]
        assert [each["type"] for each in events if each["type"] in ENDS] == ["response.failed"]
        failed = events[-1]["response"]
        assert (failed["status"], "you keep" in failed["error"]["message"]) == ("failed", True)
        assert place.ask("GET", f"{RESPONSES}/{failed['id']}", caller=caller).status == 404
    else:
        assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
    assert (len(kept(place, caller)), place.said_in(conversation, caller)) == (ready, [])
    assert before - left(place, caller) == 5
    assert len(far.asked) == 1
    # What fits is stored as before.
    says(far, "short", stream=False)
    assert place.create(model="m", caller=caller).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_the_background_for_which_there_is_no_room_fails_once(
    place: Responding, far: Scripted, caller: str, stream: bool
) -> None:
    conversation = place.conversation(caller)
    says(far, LONG, stream=stream)
    before = left(place, caller)
    asked = {"model": "m", "caller": caller, "conversation": conversation, "background": True}
    if stream:
        events = place.streamed(**asked)
        identity = events[0]["response"]["id"]
        assert [each["type"] for each in events if each["type"] in ENDS] == ["response.failed"]
        assert [each["sequence_number"] for each in events] == [*range(len(events))]
        assert place.replayed(identity, caller=caller) == events
    else:
        identity = place.made(**asked)["id"]
    failed = place.over(identity, caller)
    assert (failed["status"], "you keep" in failed["error"]["message"]) == ("failed", True)
    assert (len(kept(place, caller)), place.said_in(conversation, caller)) == (1, [])
    assert before - left(place, caller) == 5
    assert len(far.asked) == 1
    table = f"SELECT count(*) FROM answers_work WHERE parent = '{identity}' AND facet <> ''"  # noqa: S608 - a test
    assert rows(place.database, table)[0][0] == 0
    # It can be deleted, and makes room.
    assert place.ask("DELETE", f"{RESPONSES}/{identity}", caller=caller).status == 200
