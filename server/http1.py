"""HTTP/1.1 as the door speaks it: uvicorn's own protocol, closed where it is open.

uvicorn hands an application the path of the request target and nothing else of it, so an absolute or fragmented target
can only be seen here. So can a head that never ends, a trailer that poses as a header, and a client that never reads.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.api.errors import ApiError
from server.edge import MAX_HEADERS, MAX_PATH
from server.requests import new_request_id

HEAD_SECONDS: Final = 15.0
"""How long a client may take to send a request's head, and from connecting to its first one."""

STALL_SECONDS: Final = 30.0
"""How long a client may leave a full send buffer unread before its connection is cut."""

MAX_WAITING: Final = 8
"""Requests that are taken while another one on the same connection is being answered."""

MAX_UNREAD: Final = 32 * 1024 * 1024
"""Bytes of a body that are taken after it was answered, so that a client that sends first and reads then gets there."""

_log: Final = logging.getLogger("ostiary.edge")
_METHODS: Final = "GET, HEAD, POST"
_UPGRADE: Final = frozenset({b"connection", b"http2-settings", b"upgrade"})


def door(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """How uvicorn is to serve `app`; `options` are its own, for what is not the door's business (address, TLS)."""
    return uvicorn.Config(
        app,
        http=DoorProtocol,
        ws="none",
        lifespan="on",
        # Longer than clients and proxies keep an idle connection, so that none sends into one that is being closed.
        timeout_keep_alive=75,
        # Whoever connects is the client: what it says of itself in `X-Forwarded-*` proves nothing.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        **options,
    )


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    _head_open = True
    _head_size = 0
    _unread = 0
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the client a time by which its first request must have begun."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_head_timer()
        self._stop_stall_timer()
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells the request that came last, which is another one where requests are pipelined.
            _disconnect(self._running)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse what no reader of ours should have to guess about."""
        self._unset_keepalive_if_required()
        head_was_open = self._head_open
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(data[offer.args[0] :])
            return
        except httptools.HttpParserInvalidMethodError:
            sentence = f"the request's method is unknown; use {_METHODS}"
            self._refuse(ApiError(HTTPStatus.METHOD_NOT_ALLOWED, sentence, headers={"Allow": _METHODS}))
            return
        except httptools.HttpParserError:
            self._refuse_malformed("the request is not well-formed HTTP/1.1")
            return
        if self._head_open:
            self._await_head(len(data) if head_was_open else 0)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_open = True
        self._head_size = 0
        self._unread = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, since the application would take it for one."""
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole: start the application on it, unless its target is anything but a path and a query."""
        self._head_open = False
        self._stop_head_timer()
        if not self.url.startswith(b"/") or b"#" in self.url or self.parser.get_method() == b"CONNECT":
            raise ValueError
        super().on_headers_complete()
        if len(self.pipeline) <= MAX_WAITING:
            # uvicorn stops reading until the running answer is complete, and so wouldn't see the client go.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of a body on, or drop it if the application has answered already."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > MAX_UNREAD:
                self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """The send buffer is full: the client must read within a limited time."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_stall_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse in our envelope where uvicorn would in plain text."""
        self._refuse_malformed(msg)

    def _should_upgrade(self) -> bool:
        """Have uvicorn leave every request with such an offer to `_decline_upgrade`."""
        return True

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read a request that offers an upgrade again, without the offer: httptools would drop its body."""
        start = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % header for header in self.headers if header[0] not in _UPGRADE]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([start, *lines, b"", rest]))

    def _await_head(self, more: int) -> None:
        self._head_size += more
        if self._head_size > MAX_PATH + MAX_HEADERS:
            self._refuse_malformed(f"the request's head is larger than {MAX_PATH + MAX_HEADERS} bytes")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _refuse_malformed(self, message: str) -> None:
        self._refuse(ApiError(HTTPStatus.BAD_REQUEST, message, code="malformed_request"))

    def _refuse(self, error: ApiError) -> None:
        """Answer and close, but not in the middle of an answer to an earlier request."""
        self._stop_head_timer()
        running = self._running
        if running is not None and not running.response_complete:
            if running.response_started or not running.more_body:
                running.keep_alive = False
                self.pipeline.clear()
                self.flow.pause_reading()
                return
            _disconnect(running)
        request_id = new_request_id()
        _log.info("%s: malformed request: %s", request_id, error.message)
        headers = {
            **(error.headers or {}),
            "content-type": "application/json",
            "content-length": str(len(error.body)),
            "connection": "close",
            "x-request-id": request_id,
            "openai-version": "2020-10-01",
        }
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + error.body)
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that nobody is there for this request any more."""
    cycle.disconnected = True
    cycle.message_event.set()
