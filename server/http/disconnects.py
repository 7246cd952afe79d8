"""Noticing that the client has gone while something is done for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive

from server.http.errors import ClientGone
from server.http.interruptible import Interruptible
from server.http.leaving import Leaving

PATIENCE_SECONDS: Final = 0.01
"""The time before it listens: most answers are there by then, and a listener costs more than much of the rest."""


class WhileConnected:
    """Cancels the block under it when the client closes the connection, and raises ClientGone in its place.

    Enter it once the request's body is read: inside it, nothing else may call `receive`.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._block = Interruptible(ClientGone)
        self._leaving: Leaving | None = getattr(receive, "leaving", None)
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Watch the connection, or start listening soon where that can't be done."""
        leaving = self._leaving
        if leaving is not None and leaving.is_heard:
            if leaving.is_gone:
                raise ClientGone
            self._block.__enter__()
            leaving.watch(self._block.interrupt)
            return self
        self._leaving = None
        self._block.__enter__()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop that."""
        if self._leaving is not None:
            self._leaving.unwatch(self._block.interrupt)
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None  # its last exception holds its frame, and that this object
        self._block.__exit__(kind, error, trace)

    def _start(self) -> None:
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._block.interrupt()
