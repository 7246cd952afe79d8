"""The HTTP exchanges with servers of tools: one pool of connections for all callers, of which each has its share."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from json import dumps
from typing import Final

import aiohttp
from yarl import URL

from server.background.tasks import BackgroundTasks
from server.fairness.places import Pieces
from server.fairness.shares import FairShares, Share, Turn
from server.json_input.body_parser import BodyCheck
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson, Json
from server.mcp.faults import HttpFailed, McpFailed
from server.mcp.memory import ProgramMemory, part_of_machine
from server.mcp.places import Places
from server.mcp.programs import FURTHER, PROGRAMS, Program
from server.net.log_filter import quieten_clients
from server.net.outbound import GuardedResolver, Lookup, Reach, Unreachable, look_up

MOST_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one message of a server of tools; a larger one is a failure of its call."""

EXCHANGES: Final = Share("requests to servers of tools", 2048, 64, waiting=4096, waiting_each=128, seconds=10.0)
"""Requests to servers of tools at the same time, each over a connection."""

INCOMING: Final = Share("bytes of answers of tools", 256 * 1024 * 1024, 32 * 1024 * 1024, 1024, 64, seconds=20.0)
"""Bytes of answers of tools that come in or wait to be read. One that says its size waits for its room."""

READ: Final = Share("answers of tools that are read", 4, 1, waiting=4096, waiting_each=256, seconds=60.0)
"""Answers of tools that are read in one turn of the event loop; each takes some milliseconds."""

CONNECT_SECONDS: Final = 10.0
"""Limit of the time to connect to a server of tools."""

_STEP: Final = 256 * 1024
"""Bytes in which room for an answer is taken; the first ones are in the buffer of the connection anyway."""

_IDLE_SECONDS: Final = 15.0
_HEADERS: Final = {"User-Agent": "ostiary", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Server:
    """A server of tools as a caller names it: its address, and the headers that go to it and to nothing else."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


class Wire:
    """Sends requests to servers of tools; belongs to one event loop.

    It follows no redirects, keeps no cookies, takes neither proxies nor passwords from the environment, and connects to
    what `reach` permits. `programs` are servers of tools that run here, by the addresses that stand for them, and
    `processes` the places for their processes, which have at most `program_memory` bytes together: a part of the
    machine's unless it is given. `background` has the tasks whose ends nothing waits for.
    """

    def __init__(
        self,
        reach: Reach,
        reader: Reader,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = look_up,
        programs: Mapping[str, Program] | None = None,
        program_memory: int | None = None,
    ) -> None:
        self.reach = reach
        self.programs = programs or {}
        self.processes = Places(PROGRAMS, FURTHER)
        self.background = BackgroundTasks()
        self.memory = ProgramMemory(program_memory or part_of_machine(), self.background)
        self._reader = reader
        self._tls = tls
        self._lookup = lookup
        self._turns = FairShares(EXCHANGES)
        self._room = FairShares(INCOMING)
        self._pieces = Pieces(READ)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the pool, and close it when the context ends."""
        quieten_clients()
        resolver = GuardedResolver(self.reach, self._lookup)
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_IDLE_SECONDS,
            use_dns_cache=False,
            resolver=resolver,
            ssl=True if self._tls is None else self._tls,
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout,
            auto_decompress=False,
            trust_env=False,
        )
        try:
            yield
        finally:
            await self.background.cancel()
            await self._session.close()
            await resolver.close()

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        server: Server,
        headers: Mapping[str, str],
        message: Json | None = None,
        to: str | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request to the server, or to the address `to` of its origin, and give the head of the answer.

        The connection is cut unless the answer is read to its end. Raises McpFailed and NoRoom; what is raised inside
        passes, but for failures of the connection.
        """
        if self._session is None:
            raise RuntimeError("servers of tools are asked before the pool is open")
        url = self._checked(server.url if to is None else to)
        if url.origin() != self._checked(server.url).origin():
            raise McpFailed("the server of the tools names an address of another origin")
        body = None if message is None else dumps(message, ensure_ascii=False).encode("utf-8", "replace")
        async with self._turns.turn():
            try:
                async with self._session.request(
                    method, url, data=body, headers={**server.headers, **headers}, allow_redirects=False
                ) as answer:
                    yield answer
            except Unreachable as refused:
                raise McpFailed(str(refused)) from None
            except aiohttp.ClientConnectorCertificateError:
                raise McpFailed("the server of the tools has a certificate that is not trusted") from None
            except aiohttp.ClientConnectorError:
                raise McpFailed("no connection to the server of the tools can be made") from None
            except (aiohttp.ClientError, OSError) as fault:
                raise McpFailed(f"the connection to the server of the tools broke ({type(fault).__name__})") from None

    async def whole(self, answer: aiohttp.ClientResponse, look: BodyCheck) -> Json:
        """Return what `look` returns of the body of an answer; raises McpFailed and NoRoom."""
        with Incoming(self._room) as room:
            await room.wait_for(answer.content_length or 0)
            pieces, size = list[bytes](), 0
            async for piece in answer.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                room.hold(size)
            raw = b"".join(pieces)
            pieces.clear()
            return await self.read(raw, look)

    @property
    def incoming_bytes(self) -> int:
        """Bytes of answers for which room is taken."""
        return self._room.used

    def incoming(self) -> Incoming:
        """Return room for an answer that comes in pieces."""
        return Incoming(self._room)

    async def read(self, raw: bytes, look: BodyCheck) -> Json:
        """Return what `look` returns of a message; raises McpFailed and NoRoom."""
        await self._pieces.pass_on()
        try:
            return await self._reader.look(raw, look)
        except InvalidJson as fault:
            raise McpFailed(f"the answer of the server of the tools can't be used: {fault.message}") from None

    def _checked(self, url: str) -> URL:
        try:
            return self.reach.checked(url)
        except Unreachable as refused:
            raise McpFailed(str(refused)) from None


class Incoming:
    """Room for an answer that comes in, which is given back when the context ends."""

    def __init__(self, room: FairShares) -> None:
        self._room = room
        self._turns: list[Turn] = []
        self._size = _STEP

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        for turn in self._turns:
            turn.end()

    async def wait_for(self, size: int) -> None:
        """Wait for room for `size` bytes, before anything is held; raises McpFailed and NoRoom."""
        _check_size(size)
        if size > self._size:
            self._turns.append(await self._room.take(size))
            self._size = size

    def hold(self, size: int) -> None:
        """Take what is missing of room for `size` bytes in all; raises McpFailed and NoRoom."""
        _check_size(size)
        while size > self._size:
            turn = self._room.take_now(_STEP)
            if turn is None:
                raise self._room.refusal(_STEP)
            self._turns.append(turn)
            self._size += _STEP


def _check_size(size: int) -> None:
    if size > MOST_MESSAGE:
        raise McpFailed(f"the server of the tools answered with more than {MOST_MESSAGE} bytes")


def checked_status(answer: aiohttp.ClientResponse) -> None:
    """Raise HttpFailed for an answer that is no success, and McpFailed for one that is compressed."""
    if not 200 <= answer.status < 300:
        raise HttpFailed(answer.status)
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise McpFailed("the server of the tools answered in a compressed form, which was not asked for")
