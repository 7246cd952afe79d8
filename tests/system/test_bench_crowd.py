"""The greedy caller of `bench.neighbours` counts answers as they are, however they come."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import pytest

from bench.neighbours.crowd import Crowd
from tests.support.patience import PATIENCE

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
ANSWERS = PLAIN + EMPTY + CHUNKED
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@asynccontextmanager
async def answering(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Crowd]:
    """A crowd in front of a server."""
    writers = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    crowd = Crowd(server.sockets[0].getsockname()[1])
    try:
        yield crowd
    finally:
        crowd.end()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0.05)


async def for_a_moment(attack: Coroutine[None, None, None]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(attack, 0.3)


async def until(attack: Coroutine[None, None, None], enough: Callable[[], bool]) -> None:
    """Go on with the attack until it has done enough, however busy the machine is."""
    going = asyncio.ensure_future(attack)
    try:
        async with asyncio.timeout(PATIENCE):
            while not enough():  # noqa: ASYNC110 - the crowd has no event for what it counts
                await asyncio.sleep(0.01)
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going


@pytest.mark.parametrize("piece", [1, 7, len(ANSWERS)])
def test_answers_are_counted_however_they_are_cut(piece: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(ANSWERS), piece):
            writer.write(ANSWERS[at : at + piece])
            await asyncio.sleep(0)
        await reader.read()

    async def run() -> Counter[int]:
        async with answering(serve) as crowd:
            await until(crowd.repeat([REQUEST], 1, pipelined=3), lambda: crowd.tally.total() >= 3)
            return crowd.tally

    assert asyncio.run(run()) == {200: 1, 204: 1, 404: 1}


def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def run() -> Counter[int]:
        async with answering(serve) as crowd:
            await until(crowd.repeat([REQUEST], 1), lambda: crowd.tally[200] > 1)
            return crowd.tally

    tally = asyncio.run(run())
    assert tally[0] in (tally[200], tally[200] - 1)


def test_an_answer_that_is_not_read_stops_the_server() -> None:
    written = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written.append(65536)

    async def run() -> None:
        async with answering(serve) as crowd:
            await for_a_moment(crowd.unread(REQUEST, 1))

    asyncio.run(run())
    assert sum(written) < 8 * 1024 * 1024


def test_every_request_of_a_vanishing_caller_comes() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())
        writer.close()

    async def run() -> None:
        async with answering(serve) as crowd:
            await until(crowd.vanish([REQUEST], 2, after=0.01), lambda: len(seen) > 2)

    asyncio.run(run())
    assert {*seen} <= {REQUEST, b""}
