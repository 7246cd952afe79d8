"""The ways in which a greedy caller uses its connections."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from bench.neighbours.link import CLOSED, Link

CONNECTIONS: Final = 64
"""The connections of the greedy caller."""

_ADDRESS: Final = "127.0.0.2"
"""The address that the greedy caller comes from, which is not the modest one's."""

_NO_PORT: Final = 24
"""Linux' IP_BIND_ADDRESS_NO_PORT, so that the port is chosen when the connection is made."""

_AGAIN_SECONDS: Final = 0.01
_SMALL_BUFFER: Final = 4096

Requests = Sequence[bytes] | Iterator[bytes]
"""Requests that are sent in turn: a sequence from its beginning again, an iterator as long as it has some."""


class Crowd:
    """Connections to a port of loopback; `tally` counts answers by status, 0 for those that did not come."""

    def __init__(self, port: int) -> None:
        self.tally: Counter[int] = Counter()
        self.port = port
        self._links: set[Link] = set()

    async def repeat(self, requests: Requests, connections: int = CONNECTIONS, *, pipelined: int = 1) -> None:
        """Send requests without a pause, each connection its next (or next few) after the answers to the last."""
        each = cycle(requests) if isinstance(requests, Sequence) else requests

        async def one() -> None:
            link = await self._linked()
            for first in each:
                data = b"".join((first, *(next(each) for _ in range(pipelined - 1))))
                await link.ask(data, pipelined)
                if link.closed.is_set():
                    link = await self._linked_again(link)

        await self._crowd(one, connections)

    async def once_each(self, requests: Requests, connections: int = CONNECTIONS) -> None:
        """Send each request on a connection of its own, which is closed after the answer."""
        each = cycle(requests) if isinstance(requests, Sequence) else requests

        async def one() -> None:
            for data in each:
                link = await self._linked()
                await link.ask(data)
                self._drop(link)

        await self._crowd(one, connections)

    async def vanish(self, requests: Requests, connections: int = CONNECTIONS, *, after: float = 0.02) -> None:
        """Send each request on a connection of its own, and close it so many seconds later."""
        each = cycle(requests) if isinstance(requests, Sequence) else requests

        async def one() -> None:
            for data in each:
                link = await self._linked()
                link.transport.write(data)
                await asyncio.sleep(after)
                self._drop(link)
                self.tally[CLOSED] += 1

        await self._crowd(one, connections)

    async def unread(self, data: bytes, connections: int = CONNECTIONS) -> None:
        """Send a request on each connection and never read the answer; begin again where the server closes."""

        async def one() -> None:
            while True:
                link = await self._linked(buffer=_SMALL_BUFFER)
                link.transport.pause_reading()
                link.transport.write(data)
                self.tally[CLOSED] += 1
                await link.closed.wait()

        await self._crowd(one, connections)

    async def drip(self, start: bytes, pieces: Sequence[bytes], pause: float, connections: int = CONNECTIONS) -> None:
        """Send `start` on each connection and then a piece after every pause; begin again where the server closes."""

        async def one() -> None:
            while True:
                link = await self._linked()
                link.transport.write(start)
                for piece in cycle(pieces):
                    await asyncio.sleep(pause)
                    if link.closed.is_set():
                        break
                    link.transport.write(piece)
                self.tally[CLOSED] += 1
                await asyncio.sleep(_AGAIN_SECONDS)

        await self._crowd(one, connections)

    def end(self) -> None:
        """Close every connection."""
        for link in list(self._links):
            self._drop(link)

    async def _crowd(self, one: Callable[[], Awaitable[None]], connections: int) -> None:
        await asyncio.gather(*(one() for _ in range(connections)))

    async def _linked(self, buffer: int = 0) -> Link:
        """Return a new connection, as soon as there can be one."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
                connection.bind((_ADDRESS, 0))
                if buffer:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                await loop.sock_connect(connection, ("127.0.0.1", self.port))
                _, link = await loop.create_connection(lambda: Link(self.tally), sock=connection)
                self._links.add(link)
                return link
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _linked_again(self, link: Link) -> Link:
        self._links.discard(link)
        await asyncio.sleep(_AGAIN_SECONDS)
        return await self._linked()

    def _drop(self, link: Link) -> None:
        self._links.discard(link)
        link.close()
