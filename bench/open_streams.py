"""The memory of streams that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, cast

from bench.client import WrongAnswer
from bench.processes import Running

STREAMS: Final = 1000

_EVENT: Final = b"\ndata: "
_AT_ONCE: Final = 50
_BEGUN_SECONDS: Final = 60.0
_SETTLED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes by which the server and its OPA grow for `streams` open streams."""

    streams: int
    server: int
    opa: int


async def held(server: Running, requests: Sequence[bytes], streams: int = STREAMS) -> Held:
    """Open that many streams and wait for the first event of each; raises WrongAnswer."""
    await _close(await _opened(server.port, requests, _AT_ONCE))  # what is made once belongs to no stream
    before = server.cost()
    clients = await _opened(server.port, requests, streams)
    await asyncio.sleep(_SETTLED_SECONDS)
    after = server.cost()
    await _close(clients)
    return Held(streams, after.server_bytes - before.server_bytes, after.opa_bytes - before.opa_bytes)


async def _opened(port: int, requests: Sequence[bytes], streams: int) -> list[_Stream]:
    loop = asyncio.get_running_loop()
    clients = [_Stream(request) for request in islice(cycle(requests), streams)]
    async with asyncio.timeout(_BEGUN_SECONDS):
        for start in range(0, streams, _AT_ONCE):
            some = clients[start : start + _AT_ONCE]
            for client in some:
                await loop.create_connection(client.itself, "127.0.0.1", port)
            await asyncio.gather(*(client.begun for client in some))
    return clients


async def _close(clients: Sequence[_Stream]) -> None:
    for client in clients:
        client.close()
    await asyncio.sleep(_SETTLED_SECONDS)


class _Stream(asyncio.Protocol):
    """One connection with one stream; `begun` once it has the first event."""

    def __init__(self, request: bytes) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._answer = bytearray()

    def itself(self) -> _Stream:
        """Return this object, as asyncio's factories of protocols require."""
        return self

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()

    def data_received(self, data: bytes) -> None:
        if self.begun.done():
            return
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200 "[: len(self._answer)]):
            self._fail()
        elif _EVENT in self._answer:
            self.begun.set_result(None)

    def _fail(self) -> None:
        if not self.begun.done():
            self.begun.set_exception(WrongAnswer(f"a stream did not begin: {bytes(self._answer[:600])!r}"))
