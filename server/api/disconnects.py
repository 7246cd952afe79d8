"""Noticing that the client has gone while something is done for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from server.api.errors import ClientGone
from server.api.interruptions import Interruptible


class WhileConnected:
    """Cancels the block under it when the client closes the connection, and raises ClientGone in its place.

    To be entered once the request's body is read: nothing else may call `receive` meanwhile.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._block = Interruptible(ClientGone())

    async def __aenter__(self) -> Self:
        """Start listening."""
        self._block.__enter__()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._listener.cancel()
        self._block.__exit__(kind, error, trace)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._block.interrupt()
