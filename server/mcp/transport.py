"""Requests of JSON-RPC to one server of tools over streamable HTTP, and what both transports have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, Protocol

import aiohttp

from server.fairness.shares import NoRoom
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import Json
from server.mcp.event_reader import Event, EventReader, TooLarge
from server.mcp.faults import HttpFailed, McpFailed, ProtocolFailed, SessionLost
from server.mcp.wire import MOST_MESSAGE, Server, Wire, checked_status

VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Versions of the protocol that are spoken, the newest first."""

MOST_EVENTS: Final = 4096
"""Events of one answer; a server that sends more does not come to an end."""

MOST_FLOW: Final = 8 * 1024 * 1024
"""Bytes of a stream, blank lines and comments among them, until an answer that is waited for."""

MOST_ASKED: Final = 16
"""Requests that a server may send while it answers one."""

NOTICE_SECONDS: Final = 5.0
"""Limit of the time for messages whose answers nothing waits for: cancellations, and the ends of sessions."""

LIST_CHANGED: Final = "notifications/tools/list_changed"

_AT_ONCE: Final = 16 * 1024
"""Bytes that are looked at in one turn of the event loop: some hundreds of events, or thousands of blank lines."""

_ACCEPT: Final = "application/json, text/event-stream"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_NOT_FOUND: Final = 404
_NO_METHOD: Final = -32601
_LONGEST_SESSION: Final = 512


class Transport(Protocol):
    """The way of messages to one server of tools, and back."""

    @property
    def is_over(self) -> bool:
        """True once the server has forgotten or ended the session."""
        ...

    async def request(self, method: str, params: Json, look: BodyCheck, seconds: float) -> Json:
        """Return what `look` has read of the result; raises McpFailed, and NoRoom."""
        ...

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a message that has no answer; raises McpFailed, and NoRoom."""
        ...

    async def close(self) -> None:
        """End the session; failures are passed over."""
        ...


def request_of(identity: int, method: str, params: Json) -> Json:
    """Return a request of JSON-RPC."""
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def notice_of(method: str, params: Json | None) -> Json:
    """Return a notification of JSON-RPC."""
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}


def reply_to(message: Json) -> Json:
    """Return the answer to a server's own request: we are here, and can do nothing that it may ask for."""
    frame: Json = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "ping":
        return {**frame, "result": {}}
    return {**frame, "error": {"code": _NO_METHOD, "message": "this client does not do that"}}


def cancelled(identity: int) -> Json:
    """Return the notification that nothing waits for the answer to a request any more."""
    return notice_of("notifications/cancelled", {"requestId": identity, "reason": "the caller has left"})


@asynccontextmanager
async def within(seconds: float, give_up: Callable[[], None]) -> AsyncIterator[None]:
    """Limit the time of a request; raises McpFailed. `give_up` is called then, and where the request is cancelled."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        give_up()
        raise McpFailed(f"the server of the tools did not answer within {seconds:.0f} seconds") from None
    except asyncio.CancelledError:
        give_up()
        raise


class Flow:
    """The bytes that have come since the last answer that was waited for."""

    def __init__(self) -> None:
        self._size = 0

    def add(self, size: int) -> None:
        """Count more of them; raises McpFailed for more than there may be."""
        self._size += size
        if self._size > MOST_FLOW:
            raise McpFailed(f"the server of the tools sent more than {MOST_FLOW} bytes without an answer")

    def restart(self) -> None:
        """Count from here on."""
        self._size = 0


async def events_of(wire: Wire, answer: aiohttp.ClientResponse, flow: Flow) -> AsyncIterator[Event]:
    """Yield the events of an answer; raises McpFailed for one that is too large, and NoRoom."""
    reader = EventReader(MOST_MESSAGE)
    with wire.incoming() as room:
        async for piece in answer.content.iter_any():
            flow.add(len(piece))
            for start in range(0, len(piece), _AT_ONCE):
                try:
                    found = reader.fed(piece[start : start + _AT_ONCE])
                except TooLarge:
                    raise McpFailed(f"the server of the tools answered with more than {MOST_MESSAGE} bytes") from None
                room.hold(reader.held + sum(len(event.data) for event in found))
                for event in found:
                    yield event
                # What has come already is handed out without a pause, and others have turns too.
                await asyncio.sleep(0)


class StreamableHttp:
    """Messages by `POST`, each with its answer; `changed` is called when the server says that its tools are others."""

    def __init__(self, wire: Wire, server: Server, changed: Callable[[], None]) -> None:
        self._wire = wire
        self._server = server
        self._changed = changed
        self._ids = count(1)
        self._session: str | None = None
        self._is_over = False
        self.version: str | None = None

    @property
    def is_over(self) -> bool:
        """True once the server has forgotten the session."""
        return self._is_over

    async def request(self, method: str, params: Json, look: BodyCheck, seconds: float) -> Json:
        """Return what `look` has read of the result; a request that is given up is cancelled at the server."""
        identity = next(self._ids)
        message = request_of(identity, method, params)
        async with within(seconds, lambda: self._give_up(identity, method)):
            return await self._requested(message, look)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a message that has no answer."""
        await self._send(notice_of(method, params))

    async def close(self) -> None:
        """End the session at the server, if it has given one an id."""
        if self._session is None:
            return
        await quietly(self._deleted())

    async def _requested(self, message: Json, look: BodyCheck) -> Json:
        async with self._wire.exchange("POST", self._server, self._headers(), message) as answer:
            self._check(answer)
            if message["method"] == "initialize":
                self._session = _session_of(answer)
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == _JSON:
                return self._result(await self._wire.whole(answer, look), message["id"])
            if kind == _EVENTS:
                return await self._streamed(answer, message["id"], look)
        raise McpFailed("the server of the tools answered with neither JSON nor events")

    async def _streamed(self, answer: aiohttp.ClientResponse, identity: int, look: BodyCheck) -> Json:
        number = asked = 0
        async for event in events_of(self._wire, answer, Flow()):
            number += 1
            if number > MOST_EVENTS:
                raise McpFailed(f"the server of the tools answered with more than {MOST_EVENTS} events")
            if not event.data:
                continue
            message = await self._wire.read(event.data, look)
            if message["kind"] in ("result", "error") and message["id"] == identity:
                return self._result(message, identity)
            asked += message["kind"] == "request"
            if asked > MOST_ASKED:
                raise McpFailed(f"the server of the tools asked more than {MOST_ASKED} questions before its answer")
            self._heard(message)
        raise McpFailed("the server of the tools ended its answer before it was complete")

    def _result(self, message: Json, identity: int) -> Json:
        if message["kind"] == "error":
            raise ProtocolFailed(message["code"], message["message"])
        if message["kind"] != "result" or message["id"] != identity:
            raise McpFailed("the server of the tools answered something else")
        result: Json = message["result"]
        return result

    def _heard(self, message: Json) -> None:
        if message["kind"] == "notification" and message["method"] == LIST_CHANGED:
            self._changed()
        elif message["kind"] == "request":
            self._wire.background.start("answer to a server of tools", quietly(self._send(reply_to(message))))

    async def _send(self, message: Json) -> None:
        async with asyncio.timeout(NOTICE_SECONDS):
            async with self._wire.exchange("POST", self._server, self._headers(), message) as answer:
                self._check(answer)

    async def _deleted(self) -> None:
        async with self._wire.exchange("DELETE", self._server, self._headers()):
            self._session = None

    def _give_up(self, identity: int, method: str) -> None:
        if method != "initialize":
            notice = quietly(self._send(cancelled(identity)))
            self._wire.background.start("cancellation at a server of tools", notice)

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        try:
            checked_status(answer)
        except HttpFailed as failed:
            if failed.status == _NOT_FOUND and self._session is not None:
                self._is_over = True
                raise SessionLost(failed.status) from None
            raise

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": _ACCEPT, "Content-Type": _JSON}
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        if self.version is not None:
            headers["MCP-Protocol-Version"] = self.version
        return headers


def _session_of(answer: aiohttp.ClientResponse) -> str | None:
    given = answer.headers.get("mcp-session-id")
    if given is not None and not (0 < len(given) <= _LONGEST_SESSION and given.isascii() and given.isprintable()):
        raise McpFailed("the server of the tools gives its session an id that no header can carry")
    return given


async def quietly(work: Awaitable[Any]) -> None:
    """Wait for work whose failure changes nothing, for a few seconds."""
    try:
        async with asyncio.timeout(NOTICE_SECONDS):
            await work
    except (McpFailed, NoRoom, TimeoutError):
        return
