"""Streams that go through shields: nothing is sent before it is checked, and no border of a chunk hides a word."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from json import dumps, loads
from typing import Any

import pytest

from server.inference.provider import DONE, ChatRequest, ProviderFailed
from server.safety.running import ShieldUnavailable
from server.safety.shield import Said
from server.safety.streams import MOST_HELD, TAIL, WINDOW, ShieldedStream

WORD = "ann@example.org"
REQUEST = ChatRequest("p/m", b"{}")


class Windows:
    """Stops at a word, and notes what has been checked."""

    def __init__(self, fails_at: int = -1) -> None:
        self.seen: list[str] = []
        self.total = 0
        self._fails_at = fails_at

    async def window(self, before: Sequence[Said], texts: Sequence[str]) -> str | None:
        assert [said.text for said in before] == ["hi"]
        if len(self.seen) == self._fails_at:
            raise ShieldUnavailable("no verdict")
        self.seen += texts
        await asyncio.sleep(0)
        return "stopped" if any(WORD in text for text in texts) else None

    async def passed(self, characters: int) -> None:
        self.total = characters


class Events:
    """The events of a provider."""

    def __init__(self, *events: bytes) -> None:
        self._events = events
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            yield event

    async def aclose(self) -> None:
        self.closed = True


def chunk(text: str, index: int = 0, member: str = "content") -> bytes:
    choice = {"index": index, "delta": {member: text}, "finish_reason": None}
    return b"data: %b\n\n" % dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode()


def sent(*events: bytes, windows: Windows | None = None) -> list[bytes]:
    async def read() -> list[bytes]:
        stream = ShieldedStream(Events(*events), REQUEST, [Said("hi")], windows or Windows())
        return [piece async for piece in stream]

    return asyncio.run(read())


def text_of(pieces: Sequence[bytes]) -> str:
    found = re.findall(rb"data: (\{.*\})\n\n", b"".join(pieces))
    choices: list[Any] = [choice for event in found for choice in loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_what_passes_goes_out_whole_and_in_its_order() -> None:
    events = [chunk("word "), b": ping\n\n", *[chunk(f"{number} ") for number in range(500)], DONE]
    windows = Windows()
    pieces = sent(*events, windows=windows)
    assert b"".join(pieces) == b"".join(events)
    assert len(pieces) > 2, "it is not held back to its end"
    assert windows.total == sum(len(f"{number} ") for number in range(500)) + 5


@pytest.mark.parametrize("place", [0, 50, WINDOW - 10, WINDOW - 1, WINDOW, 2 * WINDOW - 7, 5 * WINDOW])
@pytest.mark.parametrize("size", [1, 3, 7, 400])
def test_a_word_is_found_wherever_borders_are(place: int, size: int) -> None:
    text = "x" * place + WORD + "y" * 900
    pieces = sent(*[chunk(text[start : start + size]) for start in range(0, len(text), size)], DONE)
    whole = b"".join(pieces)
    assert whole.endswith(DONE)
    assert b"stopped" in whole
    assert b"content_filter" in whole
    assert "a" not in text_of(pieces), "not even its beginning is sent"


def test_each_choice_is_a_text_of_its_own() -> None:
    pairs = [(chunk(letter, 0), chunk(f"{letter}.", 1)) for letter in "x" * 600 + WORD + "y" * 600]
    whole = b"".join(sent(*[event for pair in pairs for event in pair], DONE))
    assert b"stopped" in whole
    assert whole.count(b'"finish_reason":"content_filter"') == 2
    assert b"ann" not in whole.replace(b"\n", b"")


@pytest.mark.parametrize("member", ["reasoning_content", "refusal", "x_vendor"])
def test_members_that_nobody_knows_are_texts_too(member: str) -> None:
    assert b"stopped" in b"".join(sent(chunk(WORD, member=member), DONE))


def test_arguments_of_calls_are_texts() -> None:
    def call(text: str) -> bytes:
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return b"data: %b\n\n" % dumps({"choices": [{"index": 0, "delta": delta}]}).encode()

    assert b"stopped" in b"".join(sent(call('{"to": "ann@exa'), call('mple.org"}'), DONE))


def test_a_window_without_a_verdict_ends_the_stream_before_its_events() -> None:
    with pytest.raises(ProviderFailed, match="no verdict") as failed:
        sent(chunk("secret"), DONE, windows=Windows(fails_at=0))
    assert failed.value.code == "shield_unavailable"


def test_what_is_held_back_is_bounded() -> None:
    with pytest.raises(ProviderFailed, match="wait to be checked"):
        sent(*[b": %b\n\n" % (b"x" * 1000)] * (MOST_HELD // 1000 + 1), DONE)


def test_a_check_sees_little_more_than_what_is_new() -> None:
    windows = Windows()
    sent(*[chunk("x" * 10)] * 1000, DONE, windows=windows)
    assert max(map(len, windows.seen)) <= 2 * WINDOW + 2 * TAIL + 10
    assert sum(map(len, windows.seen)) < 30_000, "not the whole text so far, each time"


def test_escapes_hide_nothing() -> None:
    def calling(arguments: str) -> bytes:
        call = {"index": 0, "function": {"arguments": arguments}}
        return b"data: %b\n\n" % dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).encode()

    hidden = "".join(f"\\u{ord(letter):04x}" for letter in WORD)
    for padding in (0, 10, WINDOW, 3 * WINDOW):
        pieces = b"".join(sent(calling(" " * padding), *map(calling, hidden), DONE)).split(b"\n\n")
        calls = [loads(piece[6:])["choices"][0]["delta"].get("tool_calls", ()) for piece in pieces[:-2]]
        assert "u0061" not in "".join(call["function"]["arguments"] for each in calls for call in each)


def test_halves_of_a_character_in_two_chunks_are_one() -> None:
    windows = Windows()
    halves = ["\ud835", "\udc1a", "nn", "\ud83d"]
    sent(*(chunk(half) for half in halves), DONE, windows=windows)
    assert windows.seen == ["\U0001d41ann\ufffd"]


def test_what_can_not_be_read_ends_a_stream() -> None:
    with pytest.raises(ProviderFailed):
        sent(chunk("hi"), b'data: {"choices": [{"index": 0, "delta": {"audio": {"data": "AAAA"}}}]}\n\n', DONE)
