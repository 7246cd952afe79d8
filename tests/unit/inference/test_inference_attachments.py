"""Bytes that are put into a payload while it is sent."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.fairness.shares import FairShares
from server.inference.answers.metered import MeteredChat
from server.inference.attachments import SENT, SLICE, Attachments, NotSent, Spliced
from server.inference.provider import ChatRequest, ChatStream, Pieces


class Made:
    """A source of these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.size = sum(map(len, pieces))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield them."""
        for piece in self._pieces:
            yield piece


def attachments(*sources: Made) -> Attachments:
    return Attachments(sources, FairShares(SENT))


async def read(whole: Spliced) -> list[bytes]:
    return [bytes(piece) async for piece in whole.pieces()]


@settings(deadline=None)  # other tests may run at the same time
@given(st.lists(st.lists(st.binary(max_size=7), max_size=5), max_size=4), st.binary(max_size=9))
def test_a_payload_has_each_source_in_its_place(contents: list[list[bytes]], around: bytes) -> None:
    attached = attachments(*(Made(*pieces) for pieces in contents))
    payload = around.join([b"", *(attached.mark(number).encode() for number in range(len(contents))), b""])
    whole = attached.in_place(payload)
    sent = b"".join(asyncio.run(read(whole)))
    assert sent == around.join([b"", *(b64encode(b"".join(pieces)) for pieces in contents), b""])
    assert len(sent) == whole.size
    assert asyncio.run(whole.digest()) == sha256(sent).hexdigest()
    assert b"".join(asyncio.run(read(whole))) == sent


def test_sources_may_stand_in_another_order() -> None:
    attached = attachments(Made(b"one"), Made(b"two"))
    whole = attached.in_place(f"{attached.mark(1)} {attached.mark(0)}".encode())
    assert b"".join(asyncio.run(read(whole))) == b"dHdv b25l"


def test_a_large_payload_is_sent_in_slices() -> None:
    attached = attachments(Made(b"x"))
    payload = b"y" * (3 * SLICE + 5) + attached.mark(0).encode()
    assert max(map(len, asyncio.run(read(attached.in_place(payload))))) == SLICE


def test_no_mark_may_be_lost_or_doubled() -> None:
    attached = attachments(Made(b"one"), Made(b"two"))
    for marks in ([0], [0, 0, 1], [0, 1, 1], [0, 1, 2], []):
        with pytest.raises(ValueError, match="mark"):
            attached.in_place("-".join(map(attached.mark, marks)).encode())


def test_marks_are_different_each_time() -> None:
    assert attachments(Made(b"x")).mark(0) != attachments(Made(b"x")).mark(0)


class _Meter:
    reserved = 10

    def __init__(self) -> None:
        self.settled: list[int] = []

    async def settle(self, used: int) -> None:
        self.settled.append(used)


class _NeverSent:
    async def complete(self, request: ChatRequest) -> Pieces:
        raise NotSent(RuntimeError("gone"))

    async def stream(self, request: ChatRequest) -> ChatStream:
        raise NotSent(RuntimeError("gone"))


@pytest.mark.parametrize("call", ["complete", "stream"])
def test_a_request_that_was_not_sent_costs_nothing(call: str) -> None:
    meter = _Meter()

    async def reserve() -> _Meter:
        return meter

    async def run() -> None:
        metered = MeteredChat(_NeverSent(), reserve, lambda *_: None, hidden=False)
        await getattr(metered, call)(ChatRequest("p/m", b"{}"))

    with pytest.raises(NotSent):
        asyncio.run(run())
    assert meter.settled == [0]
