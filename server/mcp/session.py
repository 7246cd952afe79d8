"""Sessions with servers of tools: they are greeted, their tools are listed and called."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from typing import Final

from server.json_input.strict import Json
from server.mcp.faults import HttpFailed, McpFailed, ProtocolFailed
from server.mcp.kept_program import KeptProgram
from server.mcp.messages import MOST_LISTED, MOST_TOOLS, read_greeting, read_listing, read_other, read_outcome
from server.mcp.older import OlderHttp
from server.mcp.one_stream import OneStream
from server.mcp.transport import VERSIONS, StreamableHttp, Transport
from server.mcp.wire import Server, Wire

GREETING_SECONDS: Final = 15.0
"""Limit of the time until a server of tools has answered a greeting."""

LIST_SECONDS: Final = 20.0
"""Limit of the time to list all tools of a server."""

LISTED_SECONDS: Final = 300.0
"""Seconds for which a list of tools counts where the caller goes on from it."""

CALL_SECONDS: Final = 60.0
"""Limit of the time of one call of a tool."""

PING_SECONDS: Final = 5.0
"""Limit of the time until a server says that it still knows a session."""

MOST_PAGES: Final = 32
"""Pages in which a server may list its tools."""

_OLDER: Final = frozenset({400, 404, 405})
"""Statuses with which a server of the protocol's first version answers a greeting by `POST`."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The tools of a server, each with `name`, `description`, `input_schema` and `annotations`."""

    tools: tuple[Json, ...]

    def named(self, name: str) -> Json | None:
        """Return the tool of that name; None where there is none."""
        return next((tool for tool in self.tools if tool["name"] == name), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call, as a text; `is_error` where the tool says that it has failed."""

    text: str
    is_error: bool


def digest_of(tool: Json) -> str:
    """Return a digest of all that a model and a human are told of a tool."""
    return sha256(dumps(tool, sort_keys=True).encode()).hexdigest()


class Changes:
    """The number of times that a server has said that its tools have changed."""

    def __init__(self) -> None:
        self.number = 0

    def note(self) -> None:
        """Count one more."""
        self.number += 1


class Session:
    """One session with one server, for one caller."""

    def __init__(self, transport: Transport, changes: Changes) -> None:
        self._transport = transport
        self._changes = changes
        self._listed: tuple[int, float, Listing] | None = None
        self._listing = asyncio.Lock()

    @property
    def is_over(self) -> bool:
        """True once the server has forgotten or ended the session."""
        return self._transport.is_over

    async def tools(self, *, anew: bool = True) -> Listing:
        """Return the server's tools; not `anew`, as they were listed, unless that is long ago or they have changed.

        A list that was begun since this was called is new: of many that ask at once, two ask the server. Raises
        McpFailed and NoRoom.
        """
        asked = asyncio.get_running_loop().time()
        async with self._listing:
            before, now = self._changes.number, asyncio.get_running_loop().time()
            known = self._listed
            oldest = asked if anew else now - LISTED_SECONDS
            if known is None or known[0] != before or known[1] < oldest:
                known = self._listed = before, now, await self._listed_in_time()
            return known[2]

    async def call(self, name: str, arguments: Json) -> Outcome:
        """Return what a tool comes to; no failure has the call repeated. Raises McpFailed and NoRoom."""
        params = {"name": name, "arguments": arguments}
        result = await self._transport.request("tools/call", params, read_outcome, CALL_SECONDS)
        return Outcome(result["text"], result["is_error"])

    async def is_alive(self) -> bool:
        """Return whether the server still knows the session."""
        try:
            await self._transport.request("ping", {}, read_other, PING_SECONDS)
        except ProtocolFailed:
            return True
        except McpFailed:
            return False
        return True

    async def close(self) -> None:
        """End the session at the server."""
        await self._transport.close()

    async def _listed_in_time(self) -> Listing:
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await self._all_pages()
        except TimeoutError:
            raise McpFailed(f"the server did not list all of its tools within {LIST_SECONDS:.0f} seconds") from None

    async def _all_pages(self) -> Listing:
        tools, size, cursor, seen = list[Json](), 0, None, set[str]()
        for _ in range(MOST_PAGES):
            params: Json = {} if cursor is None else {"cursor": cursor}
            page = await self._transport.request("tools/list", params, read_listing, LIST_SECONDS)
            tools += page["tools"]
            size += len(dumps(page["tools"]))
            if len(tools) > MOST_TOOLS:
                raise McpFailed(f"the server has more than {MOST_TOOLS} tools")
            if size > MOST_LISTED:
                raise McpFailed(f"the tools of the server take more than {MOST_LISTED} bytes")
            cursor = page["cursor"]
            if cursor is None:
                return _without_doubles(tools)
            if cursor in seen:
                raise McpFailed("the server lists its tools without an end: a page comes again")
            seen.add(cursor)
        raise McpFailed(f"the server lists its tools in more than {MOST_PAGES} pages")


async def opened(wire: Wire, server: Server) -> Session:
    """Return a new session; raises McpFailed and NoRoom. A program is started when it is asked for something.

    A server of the protocol's first version takes no greeting by `POST`; then it is asked for its long answer.
    """
    changes = Changes()
    program = wire.programs.get(server.url)
    if program is not None:
        return Session(KeptProgram(wire, program, changes.note, _greeted), changes)
    streamable = StreamableHttp(wire, server, changes.note)
    try:
        streamable.version = await _greet(streamable)
        await _begun(streamable)
        return Session(streamable, changes)
    except HttpFailed as failed:
        if failed.status not in _OLDER:
            raise
        first = failed
    older = OlderHttp(wire, server, changes.note)
    try:
        await older.open(GREETING_SECONDS)
    except McpFailed:
        raise first from None
    try:
        await _greeted(older)
    except BaseException:
        await older.close()
        raise
    return Session(older, changes)


async def _greeted(stream: OneStream) -> None:
    """Begin a session on an open stream."""
    stream.version = await _greet(stream)
    await _begun(stream)


async def _greet(transport: Transport | OneStream) -> str:
    """Return the version of the protocol that the server speaks."""
    params = {
        "protocolVersion": VERSIONS[0],
        "capabilities": {},
        "clientInfo": {"name": "ostiary", "version": version("ostiary")},
    }
    spoken: str = (await transport.request("initialize", params, read_greeting, GREETING_SECONDS))["version"]
    if spoken not in VERSIONS:
        raise McpFailed(
            f"the server of the tools speaks no version of the protocol that is known here, such as {VERSIONS[0]}"
        )
    return spoken


async def _begun(transport: Transport | OneStream) -> None:
    try:
        await transport.notify("notifications/initialized")
    except TimeoutError:
        raise McpFailed("the server of the tools did not take the second message of a session") from None


def _without_doubles(tools: list[Json]) -> Listing:
    if len({tool["name"] for tool in tools}) < len(tools):
        raise McpFailed("the server lists two tools of one name")
    return Listing(tuple(tools))
