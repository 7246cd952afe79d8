"""Anthropic's own client for Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
from parts import ALICE, CHAT, ECHO, URL, run

BASE = URL.removesuffix("/v1")
alice = anthropic.Anthropic(base_url=BASE, api_key=ALICE, max_retries=0)
with_token = anthropic.Anthropic(base_url=BASE, api_key=None, auth_token=ALICE, max_retries=0)

WEATHER: Any = {
    "name": "weather",
    "description": "tells the weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def fails(kind: type[anthropic.APIStatusError], call: Callable[[], object]) -> anthropic.APIStatusError:
    try:
        call()
    except kind as failure:
        assert failure.request_id and failure.body["request_id"] == failure.request_id, failure
        return failure
    raise AssertionError(f"{kind.__name__} is not raised")


def message() -> None:
    answer = alice.messages.create(model=ECHO, max_tokens=64, messages=said("hello there"))
    assert answer.content[0].text == "echo: hello there"
    assert (answer.stop_reason, answer.role, answer.type) == ("end_turn", "assistant", "message")
    assert answer.usage.output_tokens == 3 and answer._request_id
    system: Any = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    assert with_token.messages.create(model=CHAT, max_tokens=64, system=system, messages=said("hi")).content


def stream() -> None:
    with alice.messages.stream(model=CHAT, max_tokens=64, messages=said("one two")) as events:
        assert "".join(events.text_stream) == "you say: one two"
        final = events.get_final_message()
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 7, 5)
    kinds = [event.type for event in alice.messages.create(model=CHAT, max_tokens=9, messages=said("a"), stream=True)]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])


def tools() -> None:
    messages = said("how is the weather?")
    with alice.messages.stream(model=CHAT, max_tokens=64, messages=messages, tools=[WEATHER]) as events:
        first = events.get_final_message()
    assert first.stop_reason == "tool_use"
    [call] = [block for block in first.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("weather", {"city": "Berlin"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sun"}]}
    turns: Any = [*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    last = alice.messages.create(model=CHAT, max_tokens=64, messages=turns, tools=[WEATHER])
    assert (last.stop_reason, last.content[0].text) == ("end_turn", "the tool says: sun")


def tokens() -> None:
    assert alice.messages.count_tokens(model=ECHO, messages=said("one two three")).input_tokens == 3


def models() -> None:
    every = [*alice.models.list(limit=1)]
    names = [model.id for model in every]
    # A list shows canonical names alone; a model is found by its other names too.
    assert {alice.models.retrieve(name).id for name in (ECHO, CHAT)} <= {*names} and len({*names}) == len(names)
    assert every == with_token.models.list().data
    assert alice.models.retrieve(ECHO).created_at.tzinfo is not None
    fails(anthropic.NotFoundError, lambda: alice.models.retrieve("none"))


def errors() -> None:
    fails(anthropic.NotFoundError, lambda: alice.messages.create(model="none", max_tokens=9, messages=said("a")))
    fails(anthropic.BadRequestError, lambda: alice.messages.create(model=ECHO, max_tokens=0, messages=said("a")))
    nobody = anthropic.Anthropic(base_url=BASE, api_key="sk-nobody", max_retries=0)
    fails(
        anthropic.AuthenticationError,
        lambda: nobody.messages.create(model=ECHO, max_tokens=9, messages=said("a")),
    )


async def asynchronous() -> None:
    async with anthropic.AsyncAnthropic(base_url=BASE, api_key=ALICE, max_retries=0) as client:
        answers = await asyncio.gather(
            *(client.messages.create(model=ECHO, max_tokens=64, messages=said(f"{n}")) for n in range(5))
        )
    assert [answer.content[0].text for answer in answers] == [f"echo: {n}" for n in range(5)]


run(message, stream, tools, tokens, models, errors, asynchronous)
