"""Gathered chunks: what comes while a batch is stored is one piece, whole and in order, and a full stream is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from server.api.responses.background import gathered
from server.api.responses.background.gathered import GatheringChat
from server.api.responses.chunks import read_events
from server.api.responses.happenings import Stopped
from server.inference.provider import ChatRequest, ChatStream, Fault, Pieces, ProviderFailed

REQUEST = ChatRequest("m", b"{}")


class Chunks:
    """A stream of these chunks, which may end with a fault."""

    def __init__(self, chunks: Sequence[bytes], fault: Exception | None = None) -> None:
        self.left = [*chunks]
        self.fault = fault
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.left:
            await asyncio.sleep(0)
            yield self.left.pop(0)
        if self.fault is not None:
            raise self.fault

    async def aclose(self) -> None:
        self.closed = True


class Model:
    """A model that answers with that stream."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks

    async def complete(self, request: ChatRequest) -> Pieces:
        return []

    async def stream(self, request: ChatRequest) -> ChatStream:
        return self.chunks


async def _nothing() -> None:
    """Note nothing."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "PACE_SECONDS", 0.001)


def read(chunks: Chunks, *, full_after: int = 1_000) -> list[bytes]:
    """The pieces that come of a stream."""
    pieces = list[bytes]()

    async def run() -> None:
        chat = GatheringChat(Model(chunks), _nothing, lambda: len(pieces) >= full_after)
        stream = await chat.stream(REQUEST)
        try:
            async for piece in stream:
                pieces.append(piece)
        finally:
            await stream.aclose()

    asyncio.run(run())
    return pieces


def test_what_comes_in_the_meantime_is_one_piece() -> None:
    chunks = Chunks([b"%d\n\n" % number for number in range(100)] + [b": quiet\n\n"])
    pieces = read(chunks)
    assert b"".join(pieces) == b"".join(b"%d\n\n" % number for number in range(100))
    assert len(pieces) < 50
    assert chunks.closed


def test_a_provider_waits_for_what_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "MOST_GATHERED", 10)
    chunks = Chunks([b"x" * 8] * 100)
    assert max(map(len, read(chunks))) <= 16 + 8


def test_a_fault_comes_behind_what_came_before() -> None:
    fault = ProviderFailed(Fault.PROVIDER, "it broke off")
    pieces = list[bytes]()

    async def run() -> None:
        stream = await GatheringChat(Model(Chunks([b"a"], fault)), _nothing, lambda: False).stream(REQUEST)
        with pytest.raises(ProviderFailed):
            async for piece in stream:
                pieces.append(piece)
        await stream.aclose()

    asyncio.run(run())
    assert pieces == [b"a"]


def test_a_full_stream_ends_as_one_that_is_cut() -> None:
    chunks = Chunks([b"%d\n\n" % number for number in range(10_000)])
    pieces = read(chunks, full_after=1)
    assert read_events(pieces[-1]) == [Stopped("length")]
    assert len(pieces) == 2
    assert chunks.closed and chunks.left


def test_events_behind_a_comment_in_one_piece_are_kept() -> None:
    chunks = Chunks([b": ping\n\n1\n\n2\n\n", b"3\n\n", b": ping\n\n", b": ping\n\n4\n\n"])
    assert b"".join(read(chunks)) == b"1\n\n2\n\n3\n\n4\n\n"
