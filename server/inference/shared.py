"""A provider whose exchanges callers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Final

from server.fairness.shares import FairShares, Share, Turn
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Pieces, TokenCounter

CHATS: Final = Share("chats with the provider", 4096, 1024, waiting=4096, waiting_each=1024, seconds=10.0)
"""Chats that one provider answers at the same time, each over a connection of its own."""


def chats(connections: int, each: int) -> Share:
    """Return the share of a provider that answers `connections` chats at the same time, `each` of one caller."""
    return replace(CHATS, capacity=connections, each=each)


class SharedChat:
    """Waits for a turn of the current caller before each chat; raises NoRoom too.

    `check` raises the failure of a request that need not be sent any more when its turn comes.
    """

    def __init__(self, chat: ChatModel, share: Share = CHATS, check: Callable[[], None] = lambda: None) -> None:
        self._chat = chat
        self._check = check
        self.shares = FairShares(share)

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the provider's answer."""
        turn = self.shares.take_now() or await self.shares.take()
        try:
            self._check()
            return await self._chat.complete(request)
        finally:
            turn.end()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a turn for one exchange that is not this model's own; raises as `complete` before the exchange."""
        async with self.shares.turn():
            self._check()
            yield

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the provider's stream, which holds the turn until it is closed."""
        turn = self.shares.take_now() or await self.shares.take()
        try:
            self._check()
            return _SharedStream(await self._chat.stream(request), turn)
        except BaseException:
            turn.end()
            raise


class SharedCounter:
    """Counts in a turn of the current caller, which `turn` waits for."""

    def __init__(self, counter: TokenCounter, turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._counter = counter
        self._turn = turn

    async def count(self, request: ChatRequest) -> int:
        """Return the tokens of a chat's prompt; raises ProviderFailed and NoRoom."""
        async with self._turn():
            return await self._counter.count(request)


class _SharedStream:
    def __init__(self, stream: ChatStream, turn: Turn) -> None:
        self._stream = stream
        self._turn = turn

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._turn.end()
