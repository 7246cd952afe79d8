"""A law: what is stored of a stream is what OpenAI's SDK makes of the bytes that the caller gets."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from server.inference.answers.accumulator import ChatAccumulator
from server.inference.answers.event_relay import EventRelay
from server.inference.provider import DONE

Json = dict[str, Any]

texts = st.text(max_size=6)
ids = st.sampled_from(["call_1", "call_2", "call_3"])
words = st.sampled_from(["weather", "time", "get_"])


def pieces_of_calls() -> st.SearchStrategy[list[Json]]:
    """Pieces of calls, each with what providers send: repeated, missing and odd indices, ids and names."""
    named = st.fixed_dictionaries({"name": words, "arguments": texts}, optional={})
    function = named | st.fixed_dictionaries({"arguments": texts}, optional={"name": st.sampled_from(["", None])})
    piece = st.fixed_dictionaries(
        {"function": function},
        optional={
            "index": st.integers(0, 2) | st.none(),
            "id": ids | st.sampled_from(["", None]),
            "type": st.sampled_from(["function", "", None]),
        },
    )
    return st.lists(piece, max_size=3)


deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", "", None]),
        "content": texts | st.none(),
        "refusal": texts | st.none(),
        "reasoning_content": texts | st.none(),
        "tool_calls": pieces_of_calls() | st.none(),
        "function_call": st.fixed_dictionaries({}, optional={"name": words, "arguments": texts}),
        "weight": st.integers(-3, 3),
    },
)
logprobs = st.none() | st.fixed_dictionaries(
    {}, optional={"content": st.lists(st.fixed_dictionaries({"token": texts}), max_size=2) | st.none()}
)


@st.composite
def streams(draw: st.DrawFn) -> list[Json]:
    """Chunks as providers send them; each choice is there from the first chunk on."""
    count = draw(st.integers(1, 2))
    chunks = []
    for place in range(draw(st.integers(1, 8))):
        listed = range(count) if place == 0 else draw(st.lists(st.integers(0, count - 1), max_size=2))
        choices = [
            {
                "index": index,
                "delta": draw(deltas),
                "logprobs": draw(logprobs),
                "finish_reason": draw(st.sampled_from([None, "", None])),
            }
            for index in listed
        ]
        more = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "usage": st.none() | st.fixed_dictionaries({"total_tokens": st.integers(1, 9)}),
                    "system_fingerprint": st.none() | st.just("fp"),
                    "obfuscation": st.just("x9"),
                    "service_tier": st.just("default"),
                },
            )
        )
        chunks.append({"id": "chatcmpl-1", "created": 1, "model": "m", "choices": choices, **more})
    last = {"id": "", "model": "", "choices": draw(st.sampled_from([None, []])), "usage": {"total_tokens": 3}}
    return [*chunks, *([last] if draw(st.booleans()) else [])]


def relayed(chunks: list[Json]) -> tuple[bytes, bool]:
    """The events that the caller gets, and whether they are whole."""
    relay, out = EventRelay("p/m", "chatcmpl-ours"), b""
    relay.take(b"".join(b"data: %b\n\n" % dumps(chunk).encode() for chunk in chunks) + DONE)
    while relay.has_more and not (relay.done or relay.broken):
        out += relay.pass_on()
    return out, relay.done


def by_the_sdk(events: bytes) -> Json:
    """What the SDK's accumulator makes of the events."""
    state: Any = ChatCompletionStreamState()
    for event in events.split(b"\n\n")[:-2]:
        state.handle_chunk(construct_type(value=loads(event.removeprefix(b"data: ")), type_=ChatCompletionChunk))
    found: Json = state.current_completion_snapshot.to_dict()
    return found


def by_us(events: bytes) -> Json:
    """What is stored."""
    assembly = ChatAccumulator(1_000_000)
    assembly.feed(events)
    found = assembly.finish()
    assert found is not None
    return found


def plainly(value: Any) -> Any:
    """A value without members that are null, and without the SDK's own and the places of calls."""
    if isinstance(value, dict):
        inner = {name: plainly(one) for name, one in value.items() if name not in ("parsed", "parsed_arguments")}
        if "function" in inner or "custom" in inner:
            inner.pop("index", None)
        return {name: one for name, one in inner.items() if one not in (None, {}, [])}
    return [plainly(one) for one in value] if isinstance(value, list) else value


OLLAMA = [
    {"index": 0, "id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}
    for name in ("a", "b")
]


@given(streams())
@example([{"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": OLLAMA}}]}])
@example([{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in OLLAMA])
def test_what_is_stored_is_what_the_sdk_makes_of_the_stream(chunks: list[Json]) -> None:
    events, is_whole = relayed(chunks)
    if not is_whole:
        # The one reason that is left: a call without a name.
        assert '"tool_calls": [' in dumps(chunks)
        return
    ours, theirs = plainly(by_us(events)), plainly(by_the_sdk(events))
    for choice in theirs["choices"]:
        choice.setdefault("message", {}).setdefault("role", "assistant")
    # What came after the first chunk alone the SDK leaves out.
    ours.pop("service_tier", None)
    theirs.pop("service_tier", None)
    assert ours == theirs
