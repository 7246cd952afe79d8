"""A streamed answer put together again is the answer that would have come in one piece."""

from __future__ import annotations

import asyncio
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.inference.answers.accumulator import ChatAccumulator
from server.inference.provider import DONE, ChatRequest
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader

Json = dict[str, Any]

MOST = 100_000
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "p/m"}
WEATHER = {"type": "function", "function": {"name": "weather"}}


def event(*choices: Json, **more: Any) -> bytes:
    return b"data: %b\n\n" % dumps({**HEAD, "choices": [*choices], **more}, ensure_ascii=False).encode()


def saying(index: int = 0, reason: str | None = None, **delta: Any) -> Json:
    return {"index": index, "delta": delta, "finish_reason": reason}


def assembled(*pieces: bytes, most: int = MOST) -> Json | None:
    assembly = ChatAccumulator(most)
    for piece in pieces:
        assembly.feed(piece)
        if assembly.is_due:
            assembly.read()
    return assembly.finish()


def message(*choices: Json) -> Json:
    """The message that these choices, each of a chunk of its own, come to."""
    answer = assembled(*map(event, choices), DONE)
    assert answer is not None
    found: Json = answer["choices"][0]["message"]
    return found


@settings(deadline=None)
@given(
    st.text(max_size=60),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([{}, {"tools": [WEATHER], "tool_choice": "required"}, {"max_tokens": 1}, {"stop": "b"}]),
    st.booleans(),
)
def test_a_stream_of_ours_comes_to_the_whole_answer(
    text: str, count: int, usage: bool, options: Json, in_one_piece: bool
) -> None:
    async def both() -> tuple[bytes, list[bytes]]:
        reader = Reader()
        echo = Echo(reader)
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "n": count, **options}
        whole = await echo.complete(ChatRequest("p/m", dumps(body).encode(), "chatcmpl-ours"))
        body |= {"stream": True, "stream_options": {"include_usage": usage}}
        request = ChatRequest("p/m", dumps(body).encode(), "chatcmpl-ours")
        pieces = [piece async for piece in await echo.stream(request)]
        await reader.close()
        return b"".join(whole), pieces

    answer, pieces = asyncio.run(both())
    if in_one_piece:
        pieces = [b"".join(pieces)]
    found, wanted = assembled(*pieces), loads(answer)
    assert found is not None
    for one in (found, wanted):
        del one["created"]
        for choice in one["choices"]:
            for call in choice["message"].get("tool_calls", ()):
                del call["id"]
    assert found.pop("usage", None) == (wanted["usage"] if usage else None)
    del wanted["usage"]
    assert found == wanted


def test_other_texts_of_a_message_grow_too() -> None:
    found = message(saying(reasoning_content="I th"), saying(reasoning_content="ink", refusal="n"), saying(refusal="o"))
    assert found == {"role": "assistant", "content": None, "reasoning_content": "I think", "refusal": "no"}


def test_log_probabilities_are_appended() -> None:
    chunks = [event({**saying(content=word), "logprobs": {"content": [{"token": word}]}}) for word in ("a", "b")]
    answer = assembled(*chunks, event({**saying(), "logprobs": None}), DONE)
    assert answer is not None
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_what_is_said_about_the_answer_is_kept_as_the_sdk_keeps_it() -> None:
    answer = assembled(
        event(saying(content="a"), usage=None, system_fingerprint="f"),
        event(saying(reason="stop"), usage=None, service_tier="default"),
        event(usage={"total_tokens": 3}, system_fingerprint="f", service_tier="other"),
        DONE,
    )
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "p/m",
        "usage": {"total_tokens": 3},
        "system_fingerprint": "f",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "a", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
    }


def test_what_chunks_alone_have_is_no_part_of_it() -> None:
    answer = assembled(
        event(saying(content="a"), usage=None, obfuscation="x7"), event(saying(reason="stop"), obfuscation="y"), DONE
    )
    assert answer is not None
    assert answer.keys() == {"id", "object", "created", "model", "choices"}
    assert answer["choices"][0].keys() == {"index", "message", "logprobs", "finish_reason"}
    assert answer["choices"][0]["logprobs"] is None


def test_pings_are_no_part_of_it() -> None:
    answer = assembled(event(saying(content="a")) + b": ping\n\n", event(saying(content="b")), DONE)
    assert answer is not None
    assert answer["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize(
    "odd",
    [
        b"data: nonsense\n\n",
        b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}\n\n',
        b'data: {"choices":[],"usage":{"total_tokens":NaN}}\n\n',
        b"data: %b\n\n" % (b'{"choices":' + b"[" * 3000 + b"]" * 3000 + b"}"),
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[1]}\n\n',
        b'data: {"choices":[null]}\n\n',
        b'data: {"choices":[{"delta":{}}]}\n\n',
        b'data: {"choices":[{"index":"0","delta":{}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":[1]}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":"a"}]}\n\n',
        b'data: {"choices":[{"index":0,"logprobs":"a"}]}\n\n',
        b"data: []\n\n",
    ],
)
def test_what_is_no_chunk_is_not_stored(odd: bytes) -> None:
    assert assembled(event(saying(content="a")), odd, event(saying(content="b")), DONE) is None


def test_nothing_at_all_is_no_answer() -> None:
    assert assembled(DONE) is None
    assert assembled() is None


@pytest.mark.parametrize(
    "chunk",
    [
        event(saying(content="x" * 101)),
        event(saying(content="ü" * 51)),
        event(*(saying(index) for index in range(200))),
        event(saying(annotations=["note"] * 20)),
        event(saying(tool_calls=[{"index": index} for index in range(200)])),
    ],
)
def test_an_answer_that_is_too_large_is_not_kept_in_the_memory(chunk: bytes) -> None:
    assembly = ChatAccumulator(100)
    assembly.feed(chunk)
    assembly.feed(b": ping\n\n" * 10_000)
    assembly.read()
    assembly.feed(event(saying(content="y")))
    assert assembly.finish() is None
    held = [value for value in vars(assembly).values() if isinstance(value, list | dict | bytes)]
    assert not any(held)


def test_a_long_answer_in_many_chunks_is_read_as_it_comes() -> None:
    words = [f"word{number} " for number in range(20_000)]
    answer = assembled(*(event(saying(content=word)) for word in words), DONE, most=10**6)
    assert answer is not None
    assert answer["choices"][0]["message"]["content"] == "".join(words)


def new_members(number: int) -> dict[str, Json]:
    """Chunks of one kind each that bring a member which no chunk before has brought."""
    name = f"new_{number}"
    return {
        "of a message": saying(**{name: number}),
        "null of a message": saying(**{name: None}),
        "empty text of a message": saying(**{name: ""}),
        "of an object in a message": saying(audio={name: True}),
        "of a call": saying(tool_calls=[{"index": 0, name: number}]),
        "of log probabilities": {**saying(), "logprobs": {name: number}},
        "of a choice": {**saying(), name: number},
        "another type": saying(type=name + "x" * 10 * number),
    }


@pytest.mark.parametrize("kind", new_members(0))
def test_ever_new_members_and_values_do_not_fill_the_memory(kind: str) -> None:
    chunks = [event(new_members(number)[kind]) for number in range(200)]
    assert assembled(*chunks[:20], DONE, most=2000) is not None
    assert assembled(*chunks, DONE, most=2000) is None


@pytest.mark.parametrize("value", [1, None, "text", [1, 2], {"a": 1}])
def test_ever_new_members_of_the_answer_itself_do_not_fill_the_memory(value: Any) -> None:
    chunks = [event(**{f"new_{number}": value}) for number in range(200)]
    assert assembled(*chunks[:20], DONE, most=2000) is not None
    assert assembled(*chunks, DONE, most=2000) is None


def test_empty_texts_take_no_memory() -> None:
    assembly = ChatAccumulator(2000)
    assembly.feed(event(saying(content="")) * 100)
    assembly.read()
    assert assembly._choices[0]["message"]["content"] == []
    assembly.feed(event(saying(content="a")) + DONE)
    answer = assembly.finish()
    assert answer is not None
    assert answer["choices"][0]["message"]["content"] == "a"


def test_a_long_name_counts_for_its_length() -> None:
    assert assembled(event(**{"n" * 2000: 1}), DONE, most=1000) is None
    assert assembled(event(saying(**{"n" * 2000: 1})), DONE, most=1000) is None


@pytest.mark.parametrize(
    "said", [{"service_tier": "x" * 2000}, {"usage": {"x" * 2000: 1}}, {"moderation": ["x"] * 500}]
)
def test_a_long_value_that_is_said_about_the_answer_counts_for_its_length(said: Json) -> None:
    assert assembled(event(**said), DONE, most=1000) is None
    assert assembled(event(**said), DONE, most=4000) is not None


def test_what_a_provider_repeats_or_replaces_may_come_any_number_of_times() -> None:
    chunks = [event(saying(weight=1), usage={"total_tokens": number}, service_tier="default") for number in range(1000)]
    answer = assembled(*chunks, DONE, most=2000)
    assert answer is not None
    assert answer["usage"] == {"total_tokens": 999}


def test_a_piece_that_is_larger_than_what_may_come_is_not_even_read() -> None:
    assembly = ChatAccumulator(100)
    assembly.feed(event(saying(content="x")))
    assembly.feed(event(saying(content="x" * 70_000)))
    assert not assembly.is_due
    assert assembly.finish() is None


def test_choices_are_in_the_order_of_their_numbers() -> None:
    answer = assembled(event(saying(2, "stop", content="c"), saying(0, "stop", content="a")), event(saying(1)), DONE)
    assert answer is not None
    assert [(choice["index"], choice["message"]["content"]) for choice in answer["choices"]] == [
        (0, "a"),
        (1, None),
        (2, "c"),
    ]


@pytest.mark.parametrize(("bytes_of_text", "is_whole"), [(1000, True), (1001, False)])
def test_so_much_text_may_come_together_and_no_more(bytes_of_text: int, is_whole: bool) -> None:
    texts = ["é" * 250, "x" * (bytes_of_text - 1000), "é" * 250]
    answer = assembled(*(event(saying(content=text)) for text in texts), DONE, most=1000)
    assert (answer is not None) is is_whole


@pytest.mark.parametrize(("count", "is_whole"), [(128, True), (129, False)])
def test_an_answer_has_at_most_128_choices_and_a_message_as_many_calls(count: int, is_whole: bool) -> None:
    choices = assembled(*(event(saying(number)) for number in range(count)), DONE)
    calls = [{"index": number, "id": f"call_{number}"} for number in range(count)]
    called = assembled(*(event(saying(tool_calls=[call])) for call in calls), DONE)
    assert (choices is not None, called is not None) == (is_whole, is_whole)


def test_entries_without_a_number_count_for_what_they_hold() -> None:
    entries = [{"type": "x", "held": ["y" * 100]}] * 8
    assert assembled(*(event(saying(annotations=[entry])) for entry in entries), DONE, most=2000) is not None
    assert assembled(*(event(saying(annotations=[entry])) for entry in entries), DONE, most=900) is None


@pytest.mark.parametrize(
    ("halves", "whole"), [(["\ud83d", "\ude00"], "😀"), (["a\ud83d", "b"], "a\ufffdb"), (["\ude00", "ä"], "\ufffdä")]
)
def test_halves_of_a_character_become_one(halves: list[str], whole: str) -> None:
    chunks = [dumps({**HEAD, "choices": [saying(content=half)]}).encode() for half in halves]
    answer = assembled(*(b"data: %b\n\n" % chunk for chunk in chunks), DONE)
    assert answer is not None
    assert answer["choices"][0]["message"]["content"] == whole
    assert dumps(answer, ensure_ascii=False).encode()
