"""Finding out what an answer has cost: cheaply, and without believing everything."""

from __future__ import annotations

import asyncio
import json
from json import loads
from typing import Any

import pytest

from server.inference.answers.usage import MOST_TOKENS, StreamUsage, believed, tokens_of
from server.inference.provider import DONE, Tokens

HEAD = {"id": "x"}


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps({"id": "x", **members}).encode() + b"\n\n"


def answer(content: str, **members: Any) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": content}}]
    return json.dumps({"id": "x", "choices": choices, **members}).encode()


LIES: list[Any] = [
    None,
    {},
    [],
    "5",
    5,
    {"total_tokens": "5"},
    {"total_tokens": 5.0},
    {"total_tokens": True},
    {"total_tokens": -5},
    {"total_tokens": 0},
    {"total_tokens": MOST_TOKENS + 1},
    {"total_tokens": 10**30},
    {"total_tokens": None},
    {"prompt_tokens": 5},
]


@pytest.mark.parametrize("usage", LIES)
def test_what_can_be_no_cost_is_not_believed(usage: Any) -> None:
    assert believed(usage) is None
    assert asyncio.run(tokens_of([answer("x", usage=usage)])) is None
    assert asyncio.run(tokens_of([answer("x" * 100_000, usage=usage)])) is None
    watched = StreamUsage(hidden=False)
    assert watched.passed(event(choices=[], usage=usage)) == event(choices=[], usage=usage)
    assert watched.tokens is None


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
@pytest.mark.parametrize("pieces", [1, 7])
def test_the_cost_is_found_in_answers_of_every_size(size: int, pieces: int) -> None:
    text = answer('"usage": {"total_tokens": 7}' + "x" * size, usage={"total_tokens": 5})
    step = len(text) // pieces + 1
    cut = [memoryview(text)[start : start + step] for start in range(0, len(text), step)]
    assert asyncio.run(tokens_of(cut)) == Tokens(5)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 70_000, b'{"usage": ' * 20_000])
def test_what_is_no_answer_says_nothing(text: bytes) -> None:
    assert asyncio.run(tokens_of([text])) is None


def test_only_an_outermost_usage_counts() -> None:
    inner = [{"index": 0, "usage": {"total_tokens": 7}, "message": {"content": '"usage": {"total_tokens": 8}'}}]
    assert asyncio.run(tokens_of([json.dumps({"choices": inner}).encode()])) is None
    watched = StreamUsage(hidden=True)
    assert watched.passed(event(choices=inner)) == event(choices=inner)
    assert watched.tokens is None


def test_a_hidden_usage_is_taken_out_of_a_stream_and_nothing_else() -> None:
    watched = StreamUsage(hidden=True)
    said = {"index": 0, "delta": {"content": ', "usage": null}'}}
    first, last = event(choices=[said], usage=None), event(choices=[], usage={"total_tokens": 12})
    seen = watched.passed(first + b": ping\n\n") + watched.passed(first + last) + watched.passed(DONE)
    assert documents(seen) == [{**HEAD, "choices": [said]}, b": ping", {**HEAD, "choices": [said]}, DONE.strip()]
    assert (watched.tokens, watched.events) == (Tokens(12), 4)


def documents(seen: bytes) -> list[Any]:
    """The chunks of events, and what else is among them as it is."""
    events = seen.removesuffix(b"\n\n").split(b"\n\n")
    return [loads(one[6:]) if one.startswith(b"data: {") else one for one in events]


def test_a_whole_stream_in_one_piece_is_watched_too() -> None:
    watched = StreamUsage(hidden=True)
    said, last = event(choices=[{"index": 0}]), event(choices=[], usage={"total_tokens": 12})
    assert watched.passed(said + last + DONE) == said + DONE
    assert watched.passed(b"") == b""
    assert watched.tokens == Tokens(12)


def test_a_piece_of_nothing_but_usage_becomes_nothing() -> None:
    watched = StreamUsage(hidden=True)
    assert watched.passed(event(choices=[], usage={"total_tokens": 12})) == b""


@pytest.mark.parametrize("size", [1, 100_000, 400_000])
def test_usage_beside_the_last_words_is_counted_and_taken_out(size: int) -> None:
    watched = StreamUsage(hidden=True)
    choice = {"index": 0, "delta": {"content": "x" * size}, "finish_reason": "stop"}
    seen = watched.passed(event(choices=[choice], usage={"total_tokens": 12}))
    [shown] = documents(seen)
    assert shown.get("usage") is None
    assert shown["choices"] == [choice]
    assert watched.tokens == Tokens(12)


def test_a_usage_that_is_a_choices_own_stays() -> None:
    watched = StreamUsage(hidden=True)
    choice = {"index": 0, "delta": {"usage": None}, "usage": None}
    [shown] = documents(watched.passed(event(choices=[choice], usage=None)))
    assert shown == {**HEAD, "choices": [choice]}


def test_the_last_word_counts_and_nonsense_behind_it_does_not() -> None:
    watched = StreamUsage(hidden=False)
    for usage in ({"total_tokens": 3}, {"total_tokens": 9}, {"total_tokens": -1}, {"total_tokens": "x"}):
        watched.passed(event(choices=[], usage=usage))
    assert watched.tokens == Tokens(9)


def test_who_asked_for_usage_sees_every_byte_of_it() -> None:
    watched = StreamUsage(hidden=False)
    pieces = event(choices=[{"index": 0}], usage=None), event(choices=[], usage={"total_tokens": 9}), DONE
    assert [watched.passed(piece) for piece in pieces] == list(pieces)


@pytest.mark.parametrize(
    ("parts", "tokens"),
    [
        ({"prompt_tokens": 4, "completion_tokens": 6}, Tokens(10, 4, 6)),
        ({"prompt_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}, Tokens(10, 4, 0, 3)),
        ({"prompt_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}, Tokens(10, 4)),
        ({"prompt_tokens": 11, "completion_tokens": -1}, Tokens(10)),
        ({"prompt_tokens": 4.0, "completion_tokens": True}, Tokens(10)),
        ({"prompt_tokens": "4", "prompt_tokens_details": []}, Tokens(10)),
        ({"completion_tokens": 10**30, "prompt_tokens_details": {"cached_tokens": 1}}, Tokens(10)),
    ],
)
def test_parts_of_the_tokens_are_believed_where_they_can_be_parts(parts: dict[str, Any], tokens: Tokens) -> None:
    assert believed({"total_tokens": 10, **parts}) == tokens
