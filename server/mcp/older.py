"""Messages to servers of the protocol's first version: by `POST` there, and back as events of one long answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
from yarl import URL

from server.background.faults import copy_of
from server.fairness.shares import NoRoom
from server.json_input.strict import Json
from server.mcp.faults import McpFailed
from server.mcp.one_stream import OneStream, fail
from server.mcp.transport import NOTICE_SECONDS, events_of
from server.mcp.wire import Server, Wire, checked_status
from server.net.outbound import LONGEST_URL


class OlderHttp(OneStream):
    """One long answer by `GET`, whose first event says where messages go: an address of the same origin, or none.

    `changed` is called when the server says that its tools have changed.
    """

    def __init__(self, wire: Wire, server: Server, changed: Callable[[], None]) -> None:
        super().__init__(wire, changed)
        self._server = server
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def open(self, seconds: float) -> None:
        """Wait for the address of messages; raises McpFailed and NoRoom."""
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="events of a server of tools")
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._endpoint)
        except TimeoutError:
            await self.close()
            raise McpFailed(f"the server of the tools did not answer within {seconds:.0f} seconds") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Cut the long answer."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                get = self._wire.exchange("GET", self._server, {"Accept": "text/event-stream"})
                answer = await stack.enter_async_context(get)
                await self._heard_all(answer)
            fault: McpFailed | NoRoom = McpFailed("the server of the tools has ended the session")
        except (McpFailed, NoRoom) as failed:
            fault = failed
        fail(self._endpoint, copy_of(fault))
        self._end(fault)

    async def _heard_all(self, answer: aiohttp.ClientResponse) -> None:
        checked_status(answer)
        if not answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise McpFailed("the server of the tools answered with neither JSON nor events")
        async for event in events_of(self._wire, answer, self._flow):
            if event.name == "endpoint":
                self._place(event.data)
            elif event.name == "message" and event.data:
                await self._heard(event.data)

    def _place(self, data: bytes) -> None:
        if self._endpoint.done():
            return
        if len(data) > LONGEST_URL:
            # Of 4 MB of `../`, a second is spent in one piece.
            raise McpFailed(f"the server of the tools names an address of more than {LONGEST_URL} characters")
        try:
            base = URL(self._server.url)
            found = base.join(URL(data.decode("ascii"), encoded=True))
            is_there = found.origin() == base.origin()
        except ValueError:
            raise McpFailed("the server of the tools names an address that is none") from None
        if not is_there:
            raise McpFailed("the server of the tools names an address of another origin")
        self._endpoint.set_result(str(found))

    async def _send(self, message: Json) -> None:
        async with asyncio.timeout(NOTICE_SECONDS):
            to = await asyncio.shield(self._endpoint)
            async with self._wire.exchange("POST", self._server, self._headers(), message, to) as answer:
                checked_status(answer)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return headers if self.version is None else {**headers, "MCP-Protocol-Version": self.version}
