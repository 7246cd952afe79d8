"""The way out of a WebSocket: long messages whole, short frames behind them, and an end for who does not read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.http.websocket import wire as wires
from server.http.websocket.frames import OUT
from server.http.websocket.wire import Wire

LONG = b"x" * 3_000_000


class Sending(asyncio.Protocol):
    """The side of the server."""

    wire: Wire

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self.wire = Wire(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.wire.lose()

    def pause_writing(self) -> None:
        """Wait."""
        self.wire.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self.wire.resume()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """The way out, and the socket of its client."""
    ours, theirs = socket.socketpair()
    transport, sending = await asyncio.get_running_loop().create_connection(Sending, sock=ours)
    theirs.setblocking(False)
    try:
        yield sending.wire, theirs
    finally:
        transport.abort()
        theirs.close()


async def read(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (part := await asyncio.get_running_loop().sock_recv(client, 65536)):
        found += part
    return found


def test_short_frames_come_behind_the_message_that_is_being_sent() -> None:
    async def steps() -> None:
        async with connected() as (wire, client):
            sending = asyncio.create_task(wire.text(LONG))
            await asyncio.sleep(0)
            wire.short(OUT.pong(b"here"))
            wire.close(1012, "later")
            expected = OUT.send_data(LONG.decode()) + OUT.pong(b"here") + OUT.close(1012, "later")
            assert await read(client, len(expected)) == expected
            await sending
            wire.short(OUT.ping())
            await wire.text(b"too late")
            assert wire.is_closing

    asyncio.run(steps())


def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "STALLED_SECONDS", 0.05)

    async def steps() -> None:
        async with connected() as (wire, client):
            began = time.monotonic()
            await asyncio.wait_for(wire.text(LONG), 10)
            assert time.monotonic() - began >= 0.05
            # What is left in the buffers of the kernel is no whole frame.
            assert len(await read(client, len(LONG))) < len(LONG)

    asyncio.run(steps())


def test_half_a_message_is_followed_by_nothing() -> None:
    async def steps() -> None:
        async with connected() as (wire, client):
            sending = asyncio.create_task(wire.text(LONG))
            await asyncio.sleep(0)
            wire.short(OUT.pong(b"never"))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            found = await asyncio.wait_for(read(client, len(LONG) + 100), 5)
            assert len(found) < len(LONG) and b"never" not in found

    asyncio.run(steps())
