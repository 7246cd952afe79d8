"""The provider for first runs: what it answers, and that a stream says what the whole answer says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.provider import ChatRequest, Fault, HealthStatus, ProviderFailed
from server.inference.providers.echo import LONGEST, Echo
from server.json_input.reader import Reader

Json = dict[str, Any]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]


def request(content: Any = "hello  big world", **body: Any) -> ChatRequest:
    messages = [{"role": "user", "content": content}]
    return ChatRequest("echo/m", dumps({"model": "m", "messages": messages, **body}).encode())


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    reader = Reader()
    yield Echo(reader)
    await reader.close()


def complete(asked: ChatRequest) -> Json:
    async def ask() -> bytes:
        async with echo() as made:
            return b"".join(await made.complete(asked))

    answer: Json = loads(asyncio.run(ask()))
    return answer


def said(answer: Json) -> str:
    text = answer["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def chunks(asked: ChatRequest) -> list[Json]:
    async def collect() -> bytes:
        async with echo() as made:
            return b"".join([piece async for piece in await made.stream(asked)])

    *events, done, rest = asyncio.run(collect()).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [loads(event.removeprefix(b"data: ")) for event in events]


def streamed_text(events: list[Json], index: int = 0) -> str:
    deltas = [choice["delta"] for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(delta.get("content") or "" for delta in deltas)


def test_it_repeats_the_last_user_message() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    answer = complete(request(messages=messages))
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "echo: three", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert (answer["object"], answer["model"], answer["system_fingerprint"]) == ("chat.completion", "echo/m", "echo")


def test_it_says_echo_alone_when_no_user_has_said_anything() -> None:
    assert said(complete(request(messages=[{"role": "system", "content": "x"}]))) == "echo:"


def test_it_reads_the_text_parts_of_a_multimodal_message() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    parts = [{"type": "text", "text": "look"}, image, {"type": "text", "text": "here"}]
    assert said(complete(request(parts))) == "echo: look here"


@given(st.text(max_size=60), st.integers(1, 6) | st.none(), st.sampled_from([None, "o", ["l", " "]]), st.integers(1, 3))
def test_a_stream_says_what_the_whole_answer_says(text: str, limit: int | None, stop: Any, count: int) -> None:
    asked = request(text, max_tokens=limit, stop=stop, n=count, stream_options={"include_usage": True})
    whole, events = complete(asked), chunks(asked)
    for choice in whole["choices"]:
        assert streamed_text(events, choice["index"]) == choice["message"]["content"]
        reasons = [c["finish_reason"] for e in events for c in e["choices"] if c["index"] == choice["index"]]
        assert reasons == [None] * (len(reasons) - 1) + [choice["finish_reason"]]
    assert events[-1]["usage"] == whole["usage"]


def test_a_stream_begins_with_the_role_and_keeps_one_id() -> None:
    events = chunks(request())
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert len({(event["id"], event["created"], event["model"], event["object"]) for event in events}) == 1
    words = [event["choices"][0]["delta"].get("content") for event in events[1:-1]]
    assert words == ["echo: ", "hello  ", "big ", "world"]
    assert all("usage" not in event for event in events)


def test_usage_comes_in_a_chunk_of_its_own_and_is_null_before_it() -> None:
    *events, last = chunks(request(stream_options={"include_usage": True}))
    assert [event["usage"] for event in events] == [None] * len(events)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 7)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_the_answer_and_says_so(name: str) -> None:
    answer = complete(request(**{name: 2}))
    assert (said(answer), answer["choices"][0]["finish_reason"]) == ("echo: hello  ", "length")
    assert answer["usage"]["completion_tokens"] == 2


def test_a_stop_ends_the_answer_before_it() -> None:
    assert said(complete(request(stop=["world", "big"]))) == "echo: hello  "


def test_n_choices_are_counted_n_times() -> None:
    answer = complete(request(n=3))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12


def test_a_long_message_is_not_repeated_in_full_however_often_it_is_asked_for() -> None:
    answer = complete(request("x" * (2 * LONGEST), n=2))
    assert [len(choice["message"]["content"]) for choice in answer["choices"]] == [LONGEST, LONGEST]
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("choice", "name"), [({"type": "function", "function": {"name": "time"}}, "time"), ("required", "weather")]
)
def test_a_tool_choice_without_a_choice_is_answered_with_that_call(choice: Any, name: str) -> None:
    asked = request(tools=TOOLS, tool_choice=choice)
    message = complete(asked)["choices"][0]
    assert message["finish_reason"] == "tool_calls"
    assert message["message"]["tool_calls"][0]["function"] == {"name": name, "arguments": "{}"}
    first, last = chunks(asked)
    assert first["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert last["choices"][0]["finish_reason"] == "tool_calls"


def test_tools_without_a_forced_choice_change_nothing() -> None:
    assert complete(request(tools=TOOLS, tool_choice="auto"))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": {"function": 5}, "tools": [{}]}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_wrong_parameter_is_the_requests_fault(body: Json, param: str) -> None:
    with pytest.raises(ProviderFailed) as failure:
        complete(request(**body))
    assert (failure.value.fault, failure.value.param) == (Fault.REQUEST, param)


def test_it_is_always_well() -> None:
    assert asyncio.run(Echo(Reader()).health()).status is HealthStatus.OK
