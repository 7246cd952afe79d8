"""Messages of a WebSocket as requests: each passes every guard as a POST would, and its events become frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from json import dumps, loads
from typing import Any, Final

from starlette.types import ASGIApp, Message, Scope

from server.fairness.caller import SERVER, Caller
from server.http.errors import ApiError
from server.http.fair_turns import ARRIVED
from server.http.websocket.frames import is_key
from server.http.whole_body import WholeBody

PATH: Final = "/v1/responses"
"""The one path on which a WebSocket is opened."""

ENTRY: Final = "ostiary.entry"
"""The key, in a scope, of an `Entry`: the request asks whether a connection may be opened, or may stay."""

FRAME: Final = "ostiary.frame"
"""The key, in a scope, of a request that has come as a message."""

LARGEST_ERROR: Final = 64 * 1024
"""Bytes of an error that is told in a frame."""

ENDS: Final = (b"event: response.completed\n", b"event: response.incomplete\n", b"event: response.failed\n")
"""The beginnings of the events that end a response."""

_NOT_SENT: Final = frozenset(
    {
        *(b"connection", b"content-length", b"content-type", b"sec-websocket-extensions", b"sec-websocket-key"),
        *(b"sec-websocket-protocol", b"sec-websocket-version", b"transfer-encoding", b"upgrade"),
    }
)
_END: Final = b"\n\n"
_DATA: Final = b"\ndata: "

Send = Callable[[bytes], Awaitable[None]]
"""Sends a text as one message, once the client has read enough of those before."""


class Entry:
    """The question whether a caller may use the route; `asks_policy` is false where the token alone is looked at.

    `status` is that of the answer, 204 where it is yes, and 0 where there is none. `caller` is then the caller.
    """

    def __init__(self, *, asks_policy: bool) -> None:
        self.asks_policy = asks_policy
        self.caller: Caller = SERVER
        self.status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""

    async def ask(self, app: ASGIApp, offered: Scope) -> None:
        """Put the question to the application, through all of its guards."""
        body = WholeBody(b"")
        await app(_scope(offered, body, 0) | {ENTRY: self}, body, self._take)

    @property
    def answer(self) -> bytes:
        """The whole answer, after which the connection is to be closed."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode(), b"connection: close"]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"connection"]
        return b"\r\n".join([*lines, b"", self._body])

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], [*message["headers"]]
        else:
            self._body += bytes(message.get("body", b""))[: LARGEST_ERROR - len(self._body)]


class FrameTurn:
    """One message that is answered; `is_over` once the last event of the answer is on its way.

    `is_completed` if that says that the response is completed.
    """

    def __init__(self, app: ASGIApp, offered: Scope, text: bytes, send: Send) -> None:
        self._app = app
        self._body = WholeBody(text)
        self._scope = _scope(offered, self._body, len(text)) | {FRAME: True}
        self._send = send
        self._coming = bytearray()
        self._is_stream = False
        self.status = 0
        self.is_over = self.is_completed = False

    async def run(self) -> None:
        """Answer to the end."""
        await self._app(self._scope, self._body, self._take)

    def leave(self) -> None:
        """Tell the application that the client has gone."""
        self._body.leave()

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._is_stream = any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
            )
            return
        self._coming += message.get("body", b"")
        if self._is_stream:
            await self._pass_events()
        elif not message.get("more_body"):
            self.is_over = True
            await self._send(error_frame(self.status, bytes(self._coming[:LARGEST_ERROR])))

    async def _pass_events(self) -> None:
        """Send the data of every event that is whole; comments and the mark behind the last one have none to send."""
        done = self._coming.rfind(_END) + len(_END)
        if done < len(_END):
            return
        whole, self._coming = bytes(self._coming[:done]), self._coming[done:]
        for event in whole.split(_END):
            _, found, data = event.partition(_DATA)
            if found:
                self.is_over = self.is_over or event.startswith(ENDS)
                self.is_completed = self.is_completed or event.startswith(ENDS[0])
                await self._send(data)


def _scope(offered: Scope, body: WholeBody, size: int) -> dict[str, Any]:
    """Return the scope of a POST with this body, from the connection whose client has `offered` the upgrade."""
    headers = [header for header in offered["headers"] if header[0] not in _NOT_SENT]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
    return {**offered, "method": "POST", "headers": headers, ARRIVED: body.is_there}


def error_frame(status: int, body: bytes) -> bytes:
    """Return the frame that tells of an error, whose envelope is `body`."""
    try:
        error = loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        error = {"message": "the server failed to answer", "type": "server_error", "param": None, "code": None}
    return dumps({"type": "error", "status": status, "error": error}, separators=(",", ":")).encode()


def refusal_frame(error: ApiError) -> bytes:
    """Return the frame that tells of an error for which no request is made."""
    return error_frame(error.status, error.body)


def offered_key(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key of an offer to speak WebSocket on `PATH`; None for any other request, and for half an offer."""
    if method != b"GET" or target.partition(b"?")[0].rstrip(b"/") != PATH.encode():
        return None
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    keys = found.get(b"sec-websocket-key", [])
    is_whole = (
        [value.lower() for value in found.get(b"upgrade", [])] == [b"websocket"]
        and found.get(b"sec-websocket-version") == [b"13"]
        and found.get(b"content-length", [b"0"]) == [b"0"]
        and b"transfer-encoding" not in found
    )
    return keys[0] if is_whole and len(keys) == 1 and is_key(keys[0]) else None
