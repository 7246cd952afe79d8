"""A connection of the greedy caller, which costs it little: answers are counted and thrown away."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, cast

CLOSED: Final = 0
"""Stands for the status of an answer that did not come."""

_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class Link(asyncio.Protocol):
    """An HTTP/1.1 connection on which each answer is read and forgotten; its status is counted in `tally`."""

    def __init__(self, tally: Counter[int]) -> None:
        self.closed = asyncio.Event()
        self._tally = tally
        self._head = bytearray()
        self._left: int | None = None
        self._tail = b""
        self._status = CLOSED
        self._wanted = 0
        self._done: asyncio.Future[None] | None = None

    async def ask(self, data: bytes, count: int = 1) -> None:
        """Send `count` requests and return when they are answered, or the connection has ended."""
        self._wanted = count
        self._done = asyncio.get_running_loop().create_future()
        if not self.closed.is_set():
            self.transport.write(data)
            await self._done

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the answer that does not come any more."""
        self.closed.set()
        if self._done is not None and not self._done.done():
            self._tally[CLOSED] += 1
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Count the answers that end in `data`."""
        while data:
            if self._left is None:
                self._head += data
                end = self._head.find(_HEAD_END)
                if end < 0:
                    return
                data = bytes(self._head[end + 4 :])
                self._begin(bytes(self._head[:end]).lower())
                self._head.clear()
            data = self._read(data)

    def _begin(self, head: bytes) -> None:
        self._status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            self._left, self._tail = -1, b"\r\n"
        else:
            _, _, length = head.partition(b"content-length: ")
            self._left = int(length.partition(b"\r\n")[0] or b"0")
            if not self._left:
                self._count()

    def _read(self, data: bytes) -> bytes:
        """Skip what belongs to the running answer; return the rest."""
        if self._left is None:
            return data
        if self._left > 0:
            rest = data[self._left :]
            self._left = max(0, self._left - len(data))
            if not self._left:
                self._count()
            return rest
        joined = self._tail + data
        end = joined.find(_LAST_CHUNK)
        if end < 0:
            self._tail = joined[-6:]
            return b""
        self._count()
        return joined[end + len(_LAST_CHUNK) :]

    def _count(self) -> None:
        self._left = None
        self._tally[self._status] += 1
        self._wanted -= 1
        if self._wanted <= 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)
