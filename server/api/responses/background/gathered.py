"""Streams of chats whose chunks are gathered while those before are stored: a batch now and then, not one for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from server.inference.provider import ChatModel, ChatRequest, ChatStream, Pieces

PACE_SECONDS: Final = 0.05
"""Seconds between two batches of events of one response at its beginning; they grow to a hundredth of the time that the
response takes.
"""

MOST_GATHERED: Final = 128 * 1024
"""Bytes of chunks that are gathered; then the provider has to wait."""

_PART: Final = 100
_END: Final = b"\n\n"
_CUT: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'


class GatheringChat:
    """Passes requests on to `model`, and gathers the chunks of its streams.

    `asking` is called before the model is asked. A stream ends as one that is cut once `is_full` returns true.
    """

    def __init__(self, model: ChatModel, asking: Callable[[], Awaitable[None]], is_full: Callable[[], bool]) -> None:
        self._model = model
        self._asking = asking
        self._is_full = is_full

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        await self._asking()
        return await self._model.complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the gathered chunks."""
        await self._asking()
        return _Gathered(await self._model.stream(request), self._is_full)


class _Gathered:
    """The chunks of one stream; each piece holds those that have come since the one before."""

    def __init__(self, chunks: ChatStream, is_full: Callable[[], bool]) -> None:
        self._chunks = chunks
        self._is_full = is_full
        self._pieces = list[bytes]()
        self._size = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        gathering = self._gathering = loop.create_task(self._gather())
        while True:
            await self._arrived.wait()
            if self._pieces:
                yield self._take()
                if self._is_full():
                    yield _CUT
                    return
                await asyncio.sleep(max(PACE_SECONDS, (loop.time() - began) / _PART))
            elif gathering.done():
                gathering.result()
                return
            else:
                self._arrived.clear()

    async def aclose(self) -> None:
        """End the provider's work."""
        if self._gathering is not None:
            self._gathering.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._gathering
        await self._chunks.aclose()

    def _take(self) -> bytes:
        pieces, self._pieces, self._size = self._pieces, [], 0
        self._taken.set()
        return b"".join(pieces)

    async def _gather(self) -> None:
        try:
            async for piece in self._chunks:
                if piece.startswith(b":"):
                    # Events may follow in the same piece.
                    piece = piece[piece.index(_END) + len(_END) :]
                    if not piece:
                        continue
                self._pieces.append(piece)
                self._size += len(piece)
                self._arrived.set()
                while self._size > MOST_GATHERED:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._arrived.set()
