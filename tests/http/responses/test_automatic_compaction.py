"""Contexts that are summed up in the course of a response, and those that lose their oldest items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.support.budgeted_server import budgeted, provider
from tests.support.callers import ALICE, BOB
from tests.support.failing_provider import Upstream, upstream
from tests.support.identity_services import service
from tests.support.responses_server import RESPONSES, Responding, responding

AT = [{"type": "compaction", "compact_threshold": 1_000}]
LONG = "x" * 5_000
SUMMARY = "A summary of the conversation so far:\n\nHello, wörld"
TALK = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": LONG},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "and now?"},
]


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("automatic"), upstream=far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(far: Upstream) -> None:
    far.forget()


def texts(far: Upstream, number: int = -1) -> list[tuple[str, Any]]:
    return [(message["role"], message.get("content")) for message in far.asked[number][2]["messages"]]


@pytest.mark.parametrize("store", [False, True])
def test_a_long_context_is_summed_up_before_the_answer(place: Responding, far: Upstream, store: bool) -> None:
    made = place.made(TALK, model="m", context_management=AT, store=store)
    assert [item["type"] for item in made["output"]] == ["compaction", "message"]
    summing, asked = texts(far, -2), texts(far)
    assert [content for _, content in summing[:-1]] == ["be brief", LONG, "two"]
    assert "Summarise" in summing[-1][1]
    assert asked == [("system", "be brief"), ("user", SUMMARY), ("user", "and now?")]
    assert LONG not in str(made["output"]) and "wörld" not in made["output"][0]["encrypted_content"]
    # Both answers are paid for.
    assert made["usage"]["total_tokens"] == 2 * 4
    if store:
        again = place.made("more", model="m", previous_response_id=made["id"])
        assert [item["type"] for item in place.items(again["id"])][-3:] == ["compaction", "message", "message"]
    else:
        place.made([*TALK, *made["output"], {"role": "user", "content": "more"}], model="m", store=False)
    answered = ("assistant", "Hello, wörld")
    assert texts(far) == [*asked, answered, ("user", "more")]


def test_a_client_may_leave_out_what_is_summed_up(place: Responding, far: Upstream) -> None:
    compaction = place.made(TALK, model="m", context_management=AT, store=False)["output"][0]
    place.made([compaction, {"role": "user", "content": "more"}], model="m", store=False)
    assert texts(far) == [("user", SUMMARY), ("user", "more")]


def test_a_stream_tells_of_it_first(place: Responding, far: Upstream) -> None:
    events = place.streamed(TALK, model="m", context_management=AT)
    assert [event["type"].removeprefix("response.") for event in events[:5]] == [
        *("created", "in_progress", "output_item.added", "output_item.done", "output_item.added")
    ]
    item = events[3]["item"]
    assert (item["type"], item["id"][:4], item.keys()) == ("compaction", "cmp_", {"id", "type", "encrypted_content"})
    last = events[-1]["response"]
    assert last["output"][0] == item and place.ask("GET", f"{RESPONSES}/{last['id']}").json == last


@pytest.mark.parametrize(
    ("given", "more"),
    [
        (TALK, {}),
        (TALK, {"context_management": [{"type": "compaction"}]}),
        (TALK, {"context_management": [{"type": "later"}]}),
        (TALK, {"context_management": [{"type": "compaction", "compact_threshold": 100_000}]}),
        # All of it waits for an answer.
        ([{"role": "user", "content": LONG}], {"context_management": AT}),
        ([TALK[0], {"role": "user", "content": LONG}, TALK[3]], {"context_management": AT}),
    ],
)
def test_no_other_context_is(place: Responding, far: Upstream, given: Any, more: dict[str, Any]) -> None:
    assert [item["type"] for item in place.made(given, model="m", store=False, **more)["output"]] == ["message"]
    assert len(far.asked) == 1


def test_the_last_summary_is_not_summed_up_alone(place: Responding, far: Upstream) -> None:
    made = place.made(TALK, model="m", context_management=AT)
    far.forget()
    called = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "a", "output": LONG}
    place.made([made["output"][0], called, output], model="m", context_management=AT, store=False)
    assert [len(each[2]["messages"]) for each in far.asked] == [3]


def test_the_next_summary_takes_the_place_of_the_last_one(place: Responding, far: Upstream) -> None:
    first = place.made(TALK, model="m", context_management=AT)
    given = [TALK[0], {"role": "user", "content": LONG}]
    second = place.made(given, model="m", previous_response_id=first["id"], context_management=AT)
    assert texts(far, -2)[:-1] == [("system", "be brief"), ("user", SUMMARY), ("user", "and now?"), ("assistant", ANY)]
    asked = texts(far)
    assert asked == [("system", "be brief"), ("user", SUMMARY), ("system", "be brief"), ("user", LONG)]
    place.made("more", model="m", previous_response_id=second["id"])
    assert texts(far) == [*asked, ("assistant", "Hello, wörld"), ("user", "more")]
    # What no model has answered may be no more than the last summary.
    far.forget()
    place.made(LONG, model="m", previous_response_id=first["id"], store=False)
    given = [*TALK, first["output"][0], {"role": "user", "content": LONG}]
    place.made(given, model="m", context_management=AT, store=False)
    assert texts(far) == [("system", "be brief"), ("user", SUMMARY), ("user", LONG)]


def test_calls_stay_with_the_outputs_that_a_model_has_not_read(place: Responding, far: Upstream) -> None:
    calls = [{"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"} for name in "abc"]
    outputs = [{"type": "function_call_output", "call_id": name, "output": "done"} for name in "abc"]
    given = [*TALK[:2], calls[0], outputs[0], *calls[1:], *outputs[1:]]
    place.made(given, model="m", context_management=AT, store=False)
    system, summary, asked, *answered = far.body["messages"]
    assert (system["role"], summary["content"]) == ("system", SUMMARY)
    assert (
        [call["id"] for call in asked["tool_calls"]] == [message["tool_call_id"] for message in answered] == ["b", "c"]
    )


def test_what_is_summed_up_fills_a_conversation(place: Responding, far: Upstream) -> None:
    conversation = place.conversation(items=TALK[:3])
    place.made(TALK[3:], model="m", conversation=conversation, context_management=AT)
    place.made("more", model="m", conversation=conversation)
    assert texts(far)[:3] == [("system", "be brief"), ("user", SUMMARY), ("user", "and now?")]


def test_another_caller_does_not_go_on_from_it(place: Responding, far: Upstream) -> None:
    item = place.made(TALK, model="m", context_management=AT, store=False)["output"][0]
    forged = {**item, "encrypted_content": item["encrypted_content"][:-8] + "AAAAAAA="}
    far.forget()
    for given, caller in ((item, BOB), (forged, ALICE)):
        answer = place.create([given, TALK[3]], caller, model="m")
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_encrypted_content")
    assert far.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_summary_that_fails_is_a_status_and_nothing_is_kept(place: Responding, stream: bool) -> None:
    before = place.count()
    answer = place.create(TALK, model="status-500", context_management=AT, stream=stream)
    assert (answer.status, place.count()) == (502, before)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "context_management"),
        ([7], "context_management[0]"),
        ([{"compact_threshold": 5_000}], "context_management[0]"),
        ([*AT, {"type": "compaction", "compact_threshold": 999}], "context_management[1].compact_threshold"),
        (AT * 17, "context_management"),
    ],
)
def test_what_is_wrong_is_told(place: Responding, given: Any, param: str) -> None:
    answer = place.create(context_management=given)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_both_answers_are_charged(opa_binary: Path, tmp_path: Path) -> None:
    limits = "max_tokens_per_period: 6000"
    with service(provider({"total_tokens": 2_000})) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        body = {"model": "m", "input": TALK, "store": False, "context_management": AT}
        assert running.address.post(RESPONSES, body).status == 200
        refused = running.address.post(RESPONSES, body)
        assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")


def test_the_oldest_items_go_and_no_output_stays_without_its_call(place: Responding, far: Upstream) -> None:
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "x" * 900_000}
    given = [call, {**call, "call_id": "b", "arguments": "{}"}]
    given += [{"type": "function_call_output", "call_id": name, "output": f"of {name}"} for name in "ab"]
    made = place.made([*given, {"role": "user", "content": "y" * 900_000}], model="m", truncation="auto")
    made = place.made("z" * 900_000, model="m", previous_response_id=made["id"], truncation="auto")
    asked = far.body["messages"]
    assert [call["id"] for call in asked[0]["tool_calls"]] == ["b"]
    assert [message["tool_call_id"] for message in asked if message["role"] == "tool"] == ["b"]
    whole = place.create("z" * 900_000, model="m", previous_response_id=made["id"])
    assert (whole.status, whole.json["error"]["code"]) == (400, "context_length_exceeded")
