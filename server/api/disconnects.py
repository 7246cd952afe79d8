"""Noticing that the client has gone while something is done for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from server.api.errors import ClientGone


class WhileConnected:
    """Cancels the block under it when the client closes the connection, and raises ClientGone in its place.

    To be entered once the request's body is read: nothing else may call `receive` meanwhile.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> Self:
        """Start listening."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled outside of a task")
        self._task = task
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._listener.cancel()
        # A cancellation from elsewhere, such as a shutdown, goes its way.
        if self._gone and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise ClientGone from None

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        self._task.cancel()
