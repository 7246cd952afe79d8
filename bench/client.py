"""A closed-loop load generator: each connection sends its next request when it has the whole answer to the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class WrongAnswer(Exception):
    """Raised for an answer that the scenario doesn't expect, so that its numbers would mean nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """The requests, sent in turn, and the expected answers: the status, and a text in the body."""

    requests: Sequence[bytes]
    status: int
    holds: bytes = b""


@dataclass(frozen=True, slots=True)
class Sample:
    """The results of one slice of load; all times in seconds. `first` is the time to the first byte of a body.

    `unserved` counts the answers 503 of an overloaded server; their times are left out.
    """

    seconds: float
    whole: list[float]
    first: list[float]
    unserved: int


async def run(port: int, load: Load, *, connections: int, seconds: float, most: int | None = None) -> Sample:
    """Load 127.0.0.1:`port` for `seconds`, or until each connection has had `most` answers; raises WrongAnswer."""
    loop = asyncio.get_running_loop()
    clients = [_Client(load, islice(cycle(load.requests), index, None)) for index in range(connections)]
    for client in clients:
        await loop.create_connection(client.itself, "127.0.0.1", port)
    began = perf_counter()
    try:
        await asyncio.gather(*(client.start(began + seconds, most) for client in clients))
    finally:
        for client in clients:
            client.close()
    ended = perf_counter()
    whole = [time for client in clients for time in client.whole]
    first = [time for client in clients for time in client.first]
    return Sample(ended - began, whole, first, sum(client.unserved for client in clients))


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, requests: Iterator[bytes]) -> None:
        self.whole: list[float] = []
        self.first: list[float] = []
        self.unserved = 0
        self._load = load
        self._requests = requests
        self._answer = bytearray()
        self._is_whole: Callable[[], bool] | None = None
        self._body_at = 0
        self._size = 0
        self._sent_at = 0.0
        self._first_at = 0.0

    def itself(self) -> _Client:
        """Return this object, as asyncio's factories of protocols require."""
        return self

    def start(self, until: float, most: int | None) -> asyncio.Future[None]:
        """Send the first request; return when the last answer is complete."""
        self._until = until
        self._most = most
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send()
        return self._done

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(WrongAnswer("the server closed a connection in the middle of the load"))

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        self._answer += data
        if self._is_whole is None and not self._read_head():
            return
        if not self._first_at and len(self._answer) > self._body_at:
            self._first_at = now
        if self._is_whole is not None and self._is_whole():
            self._finish(now)

    def _send(self) -> None:
        self._answer.clear()
        self._is_whole = None
        self._first_at = 0.0
        self._sent_at = perf_counter()
        self._transport.write(next(self._requests))

    def _read_head(self) -> bool:
        end = self._answer.find(_HEAD_END)
        if end < 0:
            return False
        head = bytes(self._answer[:end]).lower()
        self._body_at = end + 4
        if b"transfer-encoding: chunked" in head:
            self._is_whole = self._has_last_chunk
        else:
            _, _, length = head.partition(b"content-length: ")
            self._size = self._body_at + int(length.partition(b"\r\n")[0])
            self._is_whole = self._has_size
        return True

    def _has_last_chunk(self) -> bool:
        return self._answer.endswith(_LAST_CHUNK)

    def _has_size(self) -> bool:
        return len(self._answer) >= self._size

    def _finish(self, now: float) -> None:
        status = int(self._answer[9:12])
        if status == self._load.status and self._load.holds in self._answer:
            self.whole.append(now - self._sent_at)
            self.first.append((self._first_at or now) - self._sent_at)
        elif status == 503:
            self.unserved += 1
        else:
            self._done.set_exception(WrongAnswer(f"wanted {self._load.status}: {bytes(self._answer[:600])!r}"))
            return
        if now >= self._until or len(self.whole) + self.unserved == self._most:
            self._done.set_result(None)
        else:
            self._send()
