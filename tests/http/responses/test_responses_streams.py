"""Streams of responses: their order, their one end, and what is stored of those that break off."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from tests.support.callers import BOB
from tests.support.failing_provider import Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, Responding, events_of, responding, script

ENDS = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("streams"), upstream=far.url) as running:
        yield running


def test_a_stream_tells_what_the_whole_answer_is(place: Responding) -> None:
    text = script(reasoning="let me see", content="it is sunny", tool_calls=[{"name": "f", "arguments": {"a": 1}}])
    whole, events = place.made(text), place.streamed(text)
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert [event["type"] in ENDS for event in events] == [False] * (len(events) - 1) + [True]
    last = events[-1]["response"]
    assert {event["response"]["id"] for event in events if "response" in event} == {last["id"]}
    for one, other in zip(whole["output"], last["output"], strict=True):
        assert {**one, "id": ""} == {**other, "id": ""}
    assert (whole["usage"], whole.keys()) == (last["usage"], last.keys())
    # It is stored before its end is told.
    assert place.ask("GET", f"{RESPONSES}/{last['id']}").json == last


def test_what_begins_or_ends_a_part_names_the_response(place: Responding) -> None:
    text = script(reasoning="let me see", content="it is sunny", tool_calls=[{"name": "f", "arguments": {"a": 1}}])
    events = place.streamed(text)
    named = [event for event in events if "response_id" in event]
    assert {event["response_id"] for event in named} == {events[-1]["response"]["id"]}
    frames = {f"response.{what}.{when}" for what in ("output_item", "content_part") for when in ("added", "done")}
    assert {event["type"] for event in named} == frames
    assert all("response_id" in event for event in events if event["type"] in frames)


def test_the_head_says_what_a_stream_is(place: Responding) -> None:
    answer = place.create("hi", stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


def test_chunks_of_a_provider_become_events(place: Responding) -> None:
    events = place.streamed("hi", model="m")
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == ["Hello", ", ", "wörld"]
    assert events[-1]["response"]["model"] == "far/m"


@pytest.mark.parametrize("model", ["dies", "errs", "stops"])
def test_a_provider_that_breaks_off_fails_the_response(place: Responding, model: str) -> None:
    conversation = place.conversation()
    events = place.streamed("hi", model=model, conversation=conversation)
    last = events[-1]["response"]
    assert (events[-1]["type"], last["status"], last["error"]["code"]) == ("response.failed", "failed", "server_error")
    assert last["output"][0]["content"][0]["text"] == "first"
    assert place.ask("GET", f"{RESPONSES}/{last['id']}").json == last
    assert place.said_in(conversation) == []


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_prompt"), (429, "rate_limit_exceeded")])
def test_what_a_provider_refuses_is_a_status_before_the_first_event(place: Responding, status: int, code: str) -> None:
    before = place.count()
    for stream in (False, True):
        answer = place.create(script(error={"status": status}), stream=stream)
        assert answer.status == status
    late = place.streamed(script(content="a b c", error={"status": status, "after": 2}))
    assert late[-1]["response"]["error"]["code"] == code
    assert place.count() == before + 1


def test_an_incomplete_answer_is_no_failure(place: Responding) -> None:
    events = place.streamed(script(content="a b c", finish_reason="length"))
    last = events[-1]["response"]
    assert (events[-1]["type"], last["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert place.ask("GET", f"{RESPONSES}/{last['id']}").json["status"] == "incomplete"
    whole = place.made(script(content="a b c", finish_reason="content_filter"))
    assert whole["incomplete_details"] == {"reason": "content_filter"}


@pytest.mark.parametrize("mark", ["response.created", "response.output_text.delta"])
def test_a_response_whose_client_leaves_is_kept_as_far_as_it_came(place: Responding, far: Upstream, mark: str) -> None:
    conversation, other = place.conversation(), place.count()
    body = {"model": "gated", "input": "hi", "stream": True, "conversation": conversation}
    far.forget()
    try:
        with place.opened("POST", RESPONSES, body) as events:
            identity = next(event["response"]["id"] for event in events if event["type"] == "response.created")
            while mark != "response.created" and next(events)["type"] != mark:
                pass
        assert far.left.wait(PATIENCE)
    finally:
        far.go_on.set()
    kept = place.over(identity, missing=True)
    assert (kept["status"], kept["completed_at"], kept["error"]) == ("cancelled", None, None)
    if mark != "response.created":
        [message] = kept["output"]
        assert (message["status"], message["content"][0]["text"]) == ("incomplete", "first")
    assert [item["content"][0]["text"] for item in place.items(identity)] == ["hi"]
    # It fills no conversation, the next response can name it, and no other caller reads it.
    assert (place.count(), place.said_in(conversation)) == (other + 1, [])
    assert place.create("on", previous_response_id=identity).status == 200
    assert place.ask("GET", f"{RESPONSES}/{identity}", caller=BOB).status == 404
    assert place.ask("POST", f"{RESPONSES}/{identity}/cancel").json["error"]["code"] == "response_not_in_background"


def test_what_is_not_stored_is_not_kept_when_its_client_leaves(place: Responding, far: Upstream) -> None:
    before = place.count()
    far.forget()
    try:
        with place.opened(
            "POST", RESPONSES, {"model": "gated", "input": "hi", "stream": True, "store": False}
        ) as events:
            while next(events)["type"] != "response.output_text.delta":
                pass
        assert far.left.wait(PATIENCE)
    finally:
        far.go_on.set()
    # The next request is answered when what the last one did is over.
    place.made("hi", store=False)
    assert place.count() == before


def test_probabilities_come_where_they_are_asked_for(place: Responding, far: Upstream) -> None:
    place.streamed("hi", model="m", include=["message.output_text.logprobs"], top_logprobs=2)
    assert (far.body["logprobs"], far.body["top_logprobs"]) == (True, 2)
    assert far.body["stream_options"] == {"include_usage": True}
    place.made("hi", model="m")
    assert not far.body.keys() & {"logprobs", "top_logprobs", "temperature", "store", "metadata"}


def test_every_event_is_framed_by_its_type(place: Responding) -> None:
    raw = place.create("hi", stream=True).body
    assert len(events_of(raw)) == raw.count(b"event: ")
    assert all(loads(line[6:])["type"] for line in raw.split(b"\n") if line.startswith(b"data: {"))
