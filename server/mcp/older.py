"""Messages to servers of the protocol's first version: by `POST` there, and back as events of one long answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import aiohttp
from yarl import URL

from server.background.faults import copy_of
from server.fairness.shares import NoRoom
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import Json
from server.mcp.faults import McpFailed, ProtocolFailed
from server.mcp.messages import read_other
from server.mcp.transport import LIST_CHANGED, NOTICE_SECONDS, Flow, events_of, notice_of, quietly, reply_to, request_of
from server.mcp.wire import Server, Wire, checked_status


class OlderHttp:
    """One long answer by `GET`, whose first event says where messages go: an address of the same origin, or none.

    `changed` is called when the server says that its tools have changed.
    """

    def __init__(self, wire: Wire, server: Server, changed: Callable[[], None]) -> None:
        self._wire = wire
        self._server = server
        self._changed = changed
        self._ids = count(1)
        self._pending: dict[int, tuple[BodyCheck, asyncio.Future[Json]]] = {}
        self._flow = Flow()
        self._fault: McpFailed | NoRoom | None = None
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None
        self.version: str | None = None

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

    @property
    def is_over(self) -> bool:
        """True once the long answer has ended."""
        return self._fault is not None

    async def request(self, method: str, params: Json, look: BodyCheck, seconds: float) -> Json:
        """Return what `look` has read of the result; a request that is given up is cancelled at the server."""
        if self._fault is not None:
            raise copy_of(self._fault)
        identity = next(self._ids)
        answered: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._pending[identity] = (look, answered)
        try:
            async with asyncio.timeout(seconds):
                await self._send(request_of(identity, method, params))
                return await answered
        except TimeoutError:
            self._give_up(identity)
            raise McpFailed(f"the server of the tools did not answer within {seconds:.0f} seconds") from None
        except asyncio.CancelledError:
            self._give_up(identity)
            raise
        finally:
            self._pending.pop(identity, None)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a message that has no answer."""
        await self._send(notice_of(method, params))

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
        self._fault = fault
        _fail(self._endpoint, fault)
        for _, answered in self._pending.values():
            _fail(answered, copy_of(fault))

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
        try:
            base = URL(self._server.url)
            found = base.join(URL(data.decode("ascii"), encoded=True))
            is_there = found.origin() == base.origin()
        except ValueError:
            raise McpFailed("the server of the tools names an address that is none") from None
        if not is_there:
            raise McpFailed("the server of the tools names an address of another origin")
        self._endpoint.set_result(str(found))

    async def _heard(self, raw: bytes) -> None:
        message = await self._wire.read(raw, read_other)
        if message["kind"] == "notification" and message["method"] == LIST_CHANGED:
            self._changed()
        elif message["kind"] == "request":
            self._wire.background.start("answer to a server of tools", quietly(self._send(reply_to(message))))
        found = self._pending.get(message["id"]) if type(message["id"]) is int else None
        if message["kind"] not in ("result", "error") or found is None or found[1].done():
            return
        self._flow.restart()
        look, answered = found
        if message["kind"] == "error":
            answered.set_exception(ProtocolFailed(message["code"], message["message"]))
            return
        try:
            answered.set_result((await self._wire.read(raw, look))["result"])
        except (McpFailed, NoRoom) as fault:
            answered.set_exception(fault)

    async def _send(self, message: Json) -> None:
        async with asyncio.timeout(NOTICE_SECONDS):
            to = await asyncio.shield(self._endpoint)
            async with self._wire.exchange("POST", self._server, self._headers(), message, to) as answer:
                checked_status(answer)

    def _give_up(self, identity: int) -> None:
        notice = notice_of("notifications/cancelled", {"requestId": identity, "reason": "the caller has left"})
        self._wire.background.start("cancellation at a server of tools", quietly(self._send(notice)))

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return headers if self.version is None else {**headers, "MCP-Protocol-Version": self.version}


def _fail(awaited: asyncio.Future[Any], fault: Exception) -> None:
    if not awaited.done():
        awaited.set_exception(fault)
        awaited.exception()  # it is told to what waits, if anything does
