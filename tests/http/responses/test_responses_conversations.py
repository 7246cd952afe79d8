"""Responses in conversations: what fills them, when, and what happens where two meet or one is full."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.api.conversations import items as conversation_items
from server.api.responses import context
from tests.support.callers import BOB
from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import RESPONSES, Responding, responding, script

NO_CONVERSATION = "conv_" + "0" * 48


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("talks"), postgres, upstream=far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(far: Upstream) -> None:
    far.forget()


def test_input_and_output_fill_a_conversation(place: Responding) -> None:
    conversation = place.conversation(items=[{"role": "user", "content": "before"}])
    first = place.made("one", conversation=conversation)
    assert first["conversation"] == {"id": conversation}
    second = place.made("two", conversation={"id": conversation}, store=False)
    expected = [("user", "before"), ("user", "one"), ("assistant", "echo: one"), ("user", "two")]
    assert place.said_in(conversation) == [*expected, ("assistant", "echo: two")]
    # The items are the same under the same ids.
    items = place.ask("GET", f"/v1/conversations/{conversation}/items?order=asc").json["data"]
    assert [items[2], items[4]] == [first["output"][0], second["output"][0]]
    assert [item["id"] for item in place.items(first["id"])] == [items[0]["id"], items[1]["id"]]


def test_a_stream_fills_it_too(place: Responding) -> None:
    conversation = place.conversation()
    place.streamed(script(reasoning="hm", content="yes"), conversation=conversation)
    kinds = place.ask("GET", f"/v1/conversations/{conversation}/items?order=asc").json["data"]
    assert [item["type"] for item in kinds] == ["message", "reasoning", "message"]


def test_what_is_not_complete_fills_nothing(place: Responding) -> None:
    conversation = place.conversation()
    place.made(script(content="a b", finish_reason="length"), conversation=conversation)
    assert place.create(script(error={"status": 500}), conversation=conversation).status == 502
    assert place.said_in(conversation) == []


@pytest.mark.parametrize("store", [True, False])
def test_a_conversation_that_is_not_there_is_missing(place: Responding, store: bool) -> None:
    before, gone = place.count(), place.conversation()
    place.ask("DELETE", f"/v1/conversations/{gone}")
    theirs = place.conversation(caller=BOB)
    refusals = []
    for identity in (NO_CONVERSATION, gone, theirs):
        answer = place.create("hi", conversation=identity, store=store)
        assert (answer.status, answer.json["error"]["param"]) == (404, "conversation")
        refusals.append(answer.body.replace(identity.encode(), b""))
    assert len({*refusals}) == 1
    assert place.count() == before
    assert place.said_in(theirs, BOB) == []


def test_two_requests_on_one_conversation_are_both_whole(place: Responding) -> None:
    conversation = place.conversation()
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda text: place.create(text, conversation=conversation), "abcd")]
    assert {answer.status for answer in answers} == {200}
    said = place.said_in(conversation)
    assert sorted(said) == sorted(pair for text in "abcd" for pair in (("user", text), ("assistant", f"echo: {text}")))


def test_a_conversation_that_goes_meanwhile_takes_nothing(place: Responding) -> None:
    for _ in range(5):
        conversation, before = place.conversation(), place.count()
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(place.create, "hi", conversation=conversation)
            gone = pool.submit(place.ask, "DELETE", f"/v1/conversations/{conversation}")
            answer = asked.result()
            assert gone.result().status == 200
        assert answer.status in (200, 404)
        assert answer.status == 200 or answer.json["error"]["param"] == "conversation"
        assert place.count() == before + (answer.status == 200)


def test_a_full_conversation_is_told_and_takes_nothing(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_items, "MOST_KEPT", 3)
    conversation, before = place.conversation(items=[{"role": "user", "content": "a"}] * 2), place.count()
    answer = place.create("hi", conversation=conversation)
    assert (answer.status, answer.json["error"]["code"], place.count()) == (400, "too_many_items", before)
    last = place.streamed("hi", conversation=conversation)[-1]
    assert (last["type"], "at most 3 items" in last["response"]["error"]["message"]) == ("response.failed", True)
    assert place.ask("GET", f"{RESPONSES}/{last['response']['id']}").json == last["response"]
    assert len(place.said_in(conversation)) == 2


@pytest.mark.parametrize("background", [False, True])
def test_a_stream_whose_conversation_goes_is_stored_as_failed(
    place: Responding, far: Upstream, *, background: bool
) -> None:
    conversation = place.conversation()
    body = {"model": "gated", "input": "hi", "conversation": conversation, "stream": True, "background": background}
    with place.opened("POST", RESPONSES, body) as coming:
        events = [next(coming)]
        while not events[-1]["type"].endswith("text.delta"):
            events.append(next(coming))
        assert place.ask("DELETE", f"/v1/conversations/{conversation}").status == 200
        far.go_on.set()
        events += coming
    last = events[-1]
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert (last["type"], conversation in last["response"]["error"]["message"]) == ("response.failed", True)
    [item] = last["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "firstsecond")
    assert place.ask("GET", f"{RESPONSES}/{last['response']['id']}").json == last["response"]


def test_a_long_conversation_is_told_or_truncated(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MOST_ITEMS", 3)
    conversation = place.conversation(items=[{"role": "user", "content": text} for text in "abcd"])
    for given in ("hi", None):
        answer = place.create(given, conversation=conversation)
        assert (answer.status, answer.json["error"]["code"]) == (400, "context_length_exceeded")
    made = place.made("hi", conversation=conversation, truncation="auto")
    assert [item["content"][0]["text"] for item in place.items(made["id"])] == ["c", "d", "hi"]


def test_responses_in_a_database_of_their_own(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with responding(opa_binary, tmp_path, apart=True) as place:
        conversation = place.conversation()
        made = place.made("one", conversation=conversation)
        assert place.said_in(conversation) == [("user", "one"), ("assistant", "echo: one")]
        assert place.ask("GET", f"{RESPONSES}/{made['id']}").json == made
        monkeypatch.setattr(conversation_items, "MOST_KEPT", 3)
        assert place.create("two", conversation=conversation).status == 400
        assert place.count() == 1
