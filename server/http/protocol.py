"""The HTTP/1.1 protocol of the server: uvicorn's, with limits where uvicorn has none.

uvicorn hands an application the path of the request target and nothing else of it, so an absolute or fragmented target
can only be seen here. So can a head that never ends, a trailer that poses as a header, requests by the thousand in one
packet, and a client that never reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NoReturn

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.fairness.caller import SERVER, Caller
from server.http.deadline import Deadline
from server.http.edge import MAX_HEADERS, MAX_PATH
from server.http.errors import ApiError
from server.http.fair_turns import ARRIVED
from server.http.http10 import CloseDelimited
from server.http.leaving import LEAVING, Leaving
from server.http.paced_reading import PacedReading
from server.http.protocol_errors import ProtocolConfig, protocol_error_response
from server.http.request_state import new_request_id
from server.http.websocket.protocol import WebSocketProtocol
from server.http.websocket.turns import PATH, offered_key
from server.net.protocol_errors import ProtocolError

HEAD_SECONDS: Final = 15.0
"""The longest time that a client may take to send a request's head, and from connecting to its first request."""

STALL_SECONDS: Final = 30.0
"""The longest time that a client may leave a full send buffer unread before its connection is cut."""

MAX_WAITING: Final = 8
"""Requests that are taken while another one on the same connection is being answered."""

MAX_PIPELINED: Final = 64
"""Requests that may arrive in one piece behind one that is being answered; a connection with more is closed."""

MAX_HEADER_LINES: Final = 1000
"""Headers of one request: reading more of them, however short, would keep others waiting."""

MAX_UNREAD: Final = 32 * 1024 * 1024
"""Bytes of a body that are taken after it was answered, so that a client that sends first and reads then gets there."""

UNREAD_SECONDS: Final = 30.0
"""The longest time that a client may go on with such a body."""

MAX_FRAMING: Final = 32 * 1024
"""Bytes that are taken in a row without a byte of a request: extensions of chunks, trailers, empty lines."""

_log: Final = logging.getLogger("ostiary.edge")
_METHODS: Final = "DELETE, GET, HEAD, POST, PUT"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_UPGRADE: Final = frozenset({b"connection", b"http2-settings", b"upgrade"})


class HttpProtocol(HttpToolsProtocol):
    """One connection, of a server that `http_protocol` has configured."""

    config: ProtocolConfig
    _head_open = True
    _head_size = 0
    _body_open = False
    _unread = 0
    _framing = 0
    _heard = False
    _complaint = ProtocolError.SYNTAX, "the request is not well-formed HTTP/1.1"
    _running: RequestResponseCycle | None = None
    _leaving: Leaving | None = None
    caller: Caller = SERVER
    """In whose turns it is parsed what this connection reads."""

    on_lost: Callable[[], None] | None = None
    """Called when the connection has ended."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the client a time by which its first request must have begun."""
        super().connection_made(transport)
        self._reading = PacedReading(transport, self.config.reading_turns, self.caller, self._parse)
        self.flow = self._reading
        self._parts: list[bytes] = []
        self._head_deadline, self._unread_deadline, self._stall_deadline = Deadline(), Deadline(), Deadline()
        self._head_deadline.set(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadlines, and tell the application that the client is gone."""
        self._head_deadline.stop()
        self._unread_deadline.stop()
        self._stall_deadline.stop()
        self._reading.end()
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells the request that came last, which is another one where requests are pipelined.
            self._disconnect(self._running)
        if self.cycle is not None:
            self.cycle.body = bytearray()  # it is never read: transport and connection hold each other for a while
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, in turns with others where it is much."""
        self._reading.take(data)

    def _parse(self, data: bytes) -> None:
        """Parse a piece, and refuse what no reader of ours should have to guess about."""
        self._unset_keepalive_if_required()
        self._heard = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._answer_upgrade(data[offer.args[0] :])
            return
        except httptools.HttpParserInvalidMethodError:
            sentence = f"the request's method is unknown; use {_METHODS}"
            refused = ApiError(HTTPStatus.METHOD_NOT_ALLOWED, sentence, headers={"Allow": _METHODS})
            self._refuse(ProtocolError.METHOD, refused)
            return
        except httptools.HttpParserError:
            self._refuse_malformed(*self._complaint)
            return
        if self._parts:
            self._hand_on()
        if self._head_open:
            self._await_head(0 if self._heard else len(data))
        elif not self._heard:
            self._await_sense(len(data))

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_open = True
        self._head_size = 0
        self._unread = 0
        self._framing = 0
        self._heard = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, since the application would take it for one."""
        if self._head_open:
            # Blanks around a value are no part of it (RFC 9110, section 5.5); the parser leaves those behind it.
            super().on_header(name, value.strip(b" \t"))
            if len(self.headers) > MAX_HEADER_LINES:
                self._stop_parsing(ProtocolError.SIZE, f"the request has more than {MAX_HEADER_LINES} headers")

    def on_headers_complete(self) -> None:
        """Start the application on a head that is whole, unless its target is anything but a path and a query."""
        self._head_open = False
        self._heard = True
        self._head_deadline.stop()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(ProtocolError.PIPELINED, f"more than {MAX_PIPELINED} requests came at once")
        if self.parser.get_http_version() not in _VERSIONS:
            self._stop_parsing(ProtocolError.VERSION, "the request's version is neither HTTP/1.1 nor HTTP/1.0")
        if not self.url.startswith(b"/") or b"#" in self.url or self.parser.get_method() == b"CONNECT":
            self._stop_parsing(ProtocolError.TARGET, "the request's target is something other than a path and a query")
        super().on_headers_complete()
        self._body_open = True
        if len(self.pipeline) <= MAX_WAITING:
            # uvicorn stops reading until the running answer is complete, and so wouldn't see the client go.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body: of those that a client sends byte by byte, thousands come at once."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """End a body."""
        if self._parts:
            self._hand_on()
        self._body_open = False
        self._heard = True
        self._unread_deadline.stop()
        super().on_message_complete()
        if self.cycle is self._running and self._leaving is not None:
            # A large last piece has stopped uvicorn's reading, and with it the sight of the client's going.
            self.flow.resume_reading()
            self._leaving.is_heard = True

    def _hand_on(self) -> None:
        """Give the application what has come of a body, or drop it if it has answered already."""
        body = b"".join(self._parts)
        self._parts.clear()
        self._heard = True
        self._framing = 0
        super().on_body(body)
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > MAX_UNREAD:
                self.transport.abort()

    def on_response_complete(self) -> None:
        """Go on with the next request, and give the client a time by which the body of this one must have come."""
        if self._running is not None:
            self._running.body = bytearray()  # what wasn't read would stay for as long as the connection is kept alive
        super().on_response_complete()
        if self.transport.is_closing() or not self._body_open or not self.cycle.response_complete:
            return
        if self.expect_100_continue:
            # The client may now send the body or its next request, and the two look alike.
            self.transport.close()
        else:
            self._unread_deadline.set(UNREAD_SECONDS, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        self._leaving = Leaving(is_heard=not cycle.more_body)
        cycle.scope[LEAVING] = self._leaving  # type: ignore[typeddict-unknown-key]  # ours
        cycle.scope[ARRIVED] = cycle.message_event.is_set  # type: ignore[typeddict-unknown-key]  # as above
        if cycle.scope["http_version"] == "1.0":
            app = CloseDelimited(app, cycle)  # type: ignore[assignment]  # its messages are typed as Starlette's
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Give the client a limited time to read, since the send buffer is full."""
        super().pause_writing()
        self._stall_deadline.set(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, since the client has read."""
        self._stall_deadline.stop()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse in our envelope where uvicorn would in plain text."""
        self._refuse_malformed(ProtocolError.SYNTAX, msg)

    def _should_upgrade(self) -> bool:
        """Have uvicorn leave every request with such an offer to `_answer_upgrade`."""
        return True

    def _answer_upgrade(self, rest: bytes) -> None:
        """Open a WebSocket where one may be, and else decline the offer."""
        key = offered_key(self.parser.get_method(), self.url, self.headers)
        is_alone = not self.pipeline and (self._running is None or self._running.response_complete)
        if key is None or not is_alone or self.parser.get_http_version() != "1.1":
            self._decline_upgrade(rest)
            return
        self.connections.discard(self)
        rest += self._reading.end()
        offered = {**self.scope, "path": PATH, "raw_path": PATH.encode(), "query_string": b""}
        config = self.config
        socket = WebSocketProtocol(
            self.app, self.server_state, config.sockets, config.cors, offered, key, rest, self.on_lost
        )
        self.transport.set_protocol(socket)
        socket.connection_made(self.transport)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read a request that offers an upgrade again, without the offer: httptools would drop its body."""
        start = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % header for header in self.headers if header[0] not in _UPGRADE]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([start, *lines, b"", rest]))

    def _stop_parsing(self, reason: ProtocolError, complaint: str) -> NoReturn:
        """Have `_parse` refuse the request; only what the parser calls may call this."""
        self._complaint = reason, complaint
        raise ValueError

    def _await_head(self, more: int) -> None:
        self._head_size += more
        if self._head_size > MAX_PATH + MAX_HEADERS:
            self._refuse_malformed(
                ProtocolError.SIZE, f"the request's head is larger than {MAX_PATH + MAX_HEADERS} bytes"
            )
        elif not self._head_deadline.is_set:
            self._head_deadline.set(HEAD_SECONDS, self.transport.abort)

    def _await_sense(self, more: int) -> None:
        """Bound the bytes that belong to no request."""
        self._framing += more
        if self._framing > MAX_FRAMING:
            sentence = f"more than {MAX_FRAMING} bytes have come between two of the request"
            self._refuse_malformed(ProtocolError.FRAMING, sentence)
        elif not self._body_open and (self._running is None or self._running.response_complete):
            self._await_head(0)

    def _refuse_malformed(self, reason: ProtocolError, message: str) -> None:
        self._refuse(reason, ApiError(HTTPStatus.BAD_REQUEST, message, code="malformed_request"))

    def _refuse(self, reason: ProtocolError, error: ApiError) -> None:
        """Answer and close, but not in the middle of an answer to an earlier request."""
        self.config.count(reason)
        self._head_deadline.stop()
        running = self._running
        if running is not None and not running.response_complete:
            if running.response_started or not running.more_body:
                running.keep_alive = False
                self.pipeline.clear()
                self.flow.pause_reading()
                return
            self._disconnect(running)
        elif self._body_open and self.cycle.response_complete:
            # The request has had its answer, and a second one might be taken for that to another.
            self.transport.close()
            return
        request_id = new_request_id()
        _log.info("%s: malformed request: %s", request_id, error.message)
        bodiless = self.parser.get_method() == b"HEAD"
        self.transport.write(
            protocol_error_response(error, request_id, self.config.cors, self.headers or (), bodiless=bodiless)
        )
        self.transport.close()

    def _disconnect(self, running: RequestResponseCycle) -> None:
        """Tell the application that the client of its request is gone, and drop what it has not read of the body."""
        running.disconnected = True
        running.body = bytearray()
        running.message_event.set()
        if self._leaving is not None:
            self._leaving.tell()
