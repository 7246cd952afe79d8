"""A client of servers of tools, as tests use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.fairness.caller import Caller
from server.json_input.reader import Reader
from server.mcp.sessions import KEPT_SECONDS, Sessions
from server.mcp.wire import Wire
from server.net.outbound import Lookup, Reach, look_up
from tests.support.mcp_server import McpStub

ALICE: Caller = ("principal", "https://issuer", "alice")
BOB: Caller = ("principal", "https://issuer", "bob")


@asynccontextmanager
async def client(
    stub: McpStub, reach: Reach | None = None, lookup: Lookup = look_up, kept_seconds: float = KEPT_SECONDS
) -> AsyncIterator[Sessions]:
    """Sessions with that server, which is the only one that may be reached unless `reach` says another."""
    reader = Reader()
    found = Reach().with_endpoints([stub.url]) if reach is None else reach
    sessions = Sessions(Wire(found, reader, lookup=lookup), kept_seconds)
    async with sessions.running():
        yield sessions
    await reader.close()
