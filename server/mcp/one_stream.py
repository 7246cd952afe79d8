"""Requests of JSON-RPC whose answers come on one stream, in any order: what transports of that kind have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Any

from server.background.faults import copy_of
from server.fairness.shares import NoRoom
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import Json
from server.mcp.faults import McpFailed, ProtocolFailed
from server.mcp.messages import read_other
from server.mcp.transport import (
    LIST_CHANGED,
    MOST_ASKED,
    Flow,
    cancelled,
    notice_of,
    quietly,
    reply_to,
    request_of,
    within,
)
from server.mcp.wire import Wire


class OneStream(ABC):
    """The requests to one server that wait for their answers; `changed` is called when it says that its tools have
    changed.
    """

    def __init__(self, wire: Wire, changed: Callable[[], None]) -> None:
        self._wire = wire
        self._changed = changed
        self._ids = count(1)
        self._pending: dict[int, tuple[BodyCheck, asyncio.Future[Json]]] = {}
        self._flow = Flow()
        self._asked = 0
        self._fault: McpFailed | NoRoom | None = None
        self.version: str | None = None

    @property
    def is_over(self) -> bool:
        """True once the stream has ended."""
        return self._fault is not None

    async def request(self, method: str, params: Json, look: BodyCheck, seconds: float) -> Json:
        """Return what `look` has read of the result; a request that is given up is cancelled at the server."""
        if self._fault is not None:
            raise copy_of(self._fault)
        identity = next(self._ids)
        answered: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._pending[identity] = (look, answered)
        try:
            async with within(seconds, lambda: self._give_up(identity)):
                await self._send(request_of(identity, method, params))
                return await answered
        finally:
            self._pending.pop(identity, None)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a message that has no answer."""
        await self._send(notice_of(method, params))

    @abstractmethod
    async def _send(self, message: Json) -> None:
        """Send a message; raises McpFailed and NoRoom."""

    async def _heard(self, raw: bytes) -> None:
        """Take a message of the server; raises McpFailed for one that can't be used, and NoRoom."""
        message = await self._wire.read(raw, read_other)
        if message["kind"] == "notification" and message["method"] == LIST_CHANGED:
            self._changed()
        elif message["kind"] == "request":
            self._asked += 1
            if self._asked > MOST_ASKED:
                raise McpFailed(f"the server of the tools asked more than {MOST_ASKED} questions before its answer")
            self._wire.background.start("answer to a server of tools", quietly(self._send(reply_to(message))))
        found = self._pending.get(message["id"]) if type(message["id"]) is int else None
        if message["kind"] not in ("result", "error") or found is None or found[1].done():
            return
        self._flow.restart()
        self._asked = 0
        look, answered = found
        if message["kind"] == "error":
            answered.set_exception(ProtocolFailed(message["code"], message["message"]))
            return
        try:
            answered.set_result((await self._wire.read(raw, look))["result"])
        except (McpFailed, NoRoom) as fault:
            answered.set_exception(fault)

    def _end(self, fault: McpFailed | NoRoom) -> None:
        """Fail what waits for an answer, and what comes later."""
        self._fault = fault
        for _, answered in self._pending.values():
            fail(answered, copy_of(fault))

    def _give_up(self, identity: int) -> None:
        self._wire.background.start("cancellation at a server of tools", quietly(self._send(cancelled(identity))))


def fail(awaited: asyncio.Future[Any], fault: Exception) -> None:
    """Have what waits raise the fault, if anything does."""
    if not awaited.done():
        awaited.set_exception(fault)
        awaited.exception()
