"""One WebSocket: its messages are requests, one at a time, and it ends when its caller may not be there any more."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Scope
from uvicorn.server import ServerState
from wsproto.frame_protocol import CloseReason, Frame, Opcode, ParseFailed
from wsproto.utilities import generate_accept_token

from server.background.faults import log_fault
from server.fairness.caller import CURRENT, SERVER, Caller
from server.fairness.shares import NoRoom, Turn
from server.http.cors import Cors
from server.http.deadline import Deadline
from server.http.errors import ApiError, internal
from server.http.json_body import BODY_SECONDS, MAX_BODY
from server.http.request_state import new_request_id
from server.http.websocket.frames import OUT, SMALL, TOKEN_OVER, FrameReader
from server.http.websocket.memory import CONNECTION, ConnectionMemory
from server.http.websocket.opening import admitted
from server.http.websocket.shares import HeldRoom, SocketShares
from server.http.websocket.turns import Entry, FrameTurn, refusal_frame
from server.http.websocket.wire import Wire

LOOK_SECONDS: Final = 30.0
"""Seconds between looks at a WebSocket: it is sent a ping, and its token is checked. One that has sent nothing for
twice as long is cut."""

IDLE_SECONDS: Final = 900.0
"""Seconds after which a WebSocket is closed on which nothing is asked for."""

MOST_REFUSED: Final = 16
"""Messages that may come while a response is under way, each of which is refused; with more, the WebSocket is closed.
"""

MOST_CONTROLS: Final = 64
"""Pings and pongs that may come between two messages, or two looks."""

_log: Final = logging.getLogger("ostiary.edge")
_UNDER_WAY: Final = ApiError(
    HTTPStatus.CONFLICT,
    "a response is under way on this connection; wait until it is over, or open another one",
    code="response_in_progress",
)
_REFUSED: Final = OUT.send_data(refusal_frame(_UNDER_WAY).decode())


class WebSocketProtocol(asyncio.Protocol):
    """The connection of a client that has `offered` to speak WebSocket, in a GET with this `key`.

    The offer is judged as a POST without a body would be, and refused with the status that this would get. `rest` is
    what has come behind it, and `on_lost` is called when the connection has ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: ServerState,
        shares: SocketShares,
        cors: Cors | None,
        offered: Scope,
        key: bytes,
        rest: bytes,
        on_lost: Callable[[], None] | None,
    ) -> None:
        self._app = app
        self._state = state
        self._shares = shares
        self._cors = cors
        self._offered = offered
        self._key = key
        self._rest = rest
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(MAX_BODY)
        self._room = HeldRoom(shares.coming)
        self._socket: Turn | None = None
        self._caller: Caller = SERVER
        self._memory: ConnectionMemory | None = None
        self._turn: FrameTurn | None = None
        self._next: bytes | None = None
        self._chunks: deque[bytes] = deque()
        self._refused = self._controls = 0
        self._is_deaf = self._is_ending = self._is_token_over = False
        self._look_deadline, self._message_deadline = Deadline(), Deadline()
        self._heard = self._asked = self._loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Judge the offer; nothing is read until then."""
        self._transport = transport
        self._wire = Wire(transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # it has what uvicorn calls
        transport.pause_reading()
        self._start(self._open())

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way, and give back all room."""
        self._state.connections.discard(self)
        self._wire.lose()
        self._next = None
        self._chunks.clear()
        self._is_deaf = True
        self._look_deadline.stop()
        self._message_deadline.stop()
        if self._turn is not None:
            self._turn.leave()
        if self._memory is not None:
            self._memory.close()
        self._room.release()
        if self._socket is not None:
            self._socket.end()
            self._socket = None
        if self._on_lost is not None:
            self._on_lost()

    def shutdown(self) -> None:
        """Close the connection once the response is over that is under way; the second time at once."""
        # Before it is open, no frame may be sent.
        if self._memory is not None and (self._turn is None or self._is_ending):
            self._wire.close(CloseReason.SERVICE_RESTART, "the server is ending")
        self._is_ending = True

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read."""
        self._wire.pause()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on, since the client has read."""
        self._wire.resume()
        self._read_on()

    def data_received(self, data: bytes) -> None:
        """Take frames, in the turn of their caller: at once if that has come and they are small."""
        self._heard = self._loop.time()
        if self._chunks or len(data) > SMALL or not self._shares.chunks.pass_now(self._caller):
            self._chunks.append(data)
            if len(self._chunks) == 1:
                self._transport.pause_reading()
                self._start(self._read_chunks())
        else:
            self._feed(data)

    async def _read_chunks(self) -> None:
        CURRENT.set(self._caller)
        place = 0
        while self._chunks:
            try:
                await self._shares.chunks.pass_on()
            except NoRoom as full:
                self._is_deaf = True
                self._wire.close(CloseReason.TRY_AGAIN_LATER, str(full))
            if self._chunks:  # the client may have gone
                piece = self._chunks[0][place : place + self._reader.at_once]
                self._feed(piece)
                place += len(piece)
                if place == len(self._chunks[0]):
                    self._chunks.popleft()
                    place = 0
        self._read_on()

    def _read_on(self) -> None:
        """Go on reading, unless something has to be done first."""
        if self._memory is not None and self._next is None and not self._chunks and not self._wire.is_full:
            self._transport.resume_reading()

    def _feed(self, data: bytes) -> None:
        if self._is_deaf:
            return
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
            self._room.grow(self._reader.size, self._caller)
        except ParseFailed as broken:
            self._is_deaf = True
            self._wire.close(broken.code, str(broken))
        except NoRoom as full:
            self._is_deaf = True
            self._wire.close(CloseReason.TRY_AGAIN_LATER, str(full))
        self._watch_message()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _open(self) -> None:
        opened = await admitted(self._app, self._offered, self._cors, self._shares)
        if isinstance(opened, bytes):
            self._transport.write(opened)
            self._transport.close()
            return
        if self._transport.is_closing():
            opened.socket.end()
            return
        self._caller, self._socket = opened.caller, opened.socket
        self._memory = ConnectionMemory(self._shares.remembered, opened.caller)
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        accepted = b"Sec-WebSocket-Accept: " + generate_accept_token(self._key)
        self._transport.write(b"\r\n".join((*lines, accepted, b"", b"")))
        self._look_deadline.set(LOOK_SECONDS, self._look)
        if self._is_ending:
            self._wire.close(CloseReason.SERVICE_RESTART, "the server is ending")
        rest, self._rest = self._rest, b""
        if rest:
            self.data_received(rest)
        self._read_on()

    def _take(self, frame: Frame) -> None:
        """Take one frame; raises ParseFailed for one too many."""
        match frame:
            case Frame(payload=(int(code), _)):
                self._is_deaf = True
                self._wire.answer_close(code)
            case Frame(Opcode.TEXT, bytes(text)):
                if not self._wire.is_closing:
                    self._take_message(text)
            case Frame(opcode, bytes(data)):
                self._controls += 1
                if self._controls > MOST_CONTROLS:
                    raise ParseFailed(f"more than {MOST_CONTROLS} pings have come", CloseReason.POLICY_VIOLATION)
                if opcode is Opcode.PING:
                    self._wire.short(OUT.pong(data))

    def _take_message(self, text: bytes) -> None:
        self._controls = 0
        self._message_deadline.stop()
        if self._turn is None:
            self._ask(text)
        elif self._turn.is_over and self._next is None:
            # Its client has read the end, and the rest is a matter of moments.
            self._next = text
            self._transport.pause_reading()
        else:
            self._room.release()
            self._refused += 1
            if self._refused > MOST_REFUSED:
                late = f"more than {MOST_REFUSED} messages came while a response is under way"
                raise ParseFailed(late, CloseReason.POLICY_VIOLATION)
            self._wire.short(_REFUSED)

    def _ask(self, text: bytes) -> None:
        self._room.release()
        self._refused = 0
        self._turn = turn = FrameTurn(self._app, self._offered, text, self._wire.text)
        self._start(self._answer(turn))

    async def _answer(self, turn: FrameTurn) -> None:
        """Answer one message, and go on with the next one."""
        memory = self._memory
        CONNECTION.set(memory)
        try:
            await turn.run()
        except Exception as fault:  # noqa: BLE001 - the connection tells of it, and goes on
            if not turn.status:
                request_id = new_request_id()
                log_fault(_log, f"{request_id}: a message could not be answered", fault)
                await self._wire.text(refusal_frame(internal(request_id)))
        finally:
            self._turn, self._asked = None, self._loop.time()
            if memory is not None:
                if memory.used is not None and not turn.is_completed:
                    memory.forget(memory.used)
                memory.used = None
        self._go_on(turn)

    def _go_on(self, turn: FrameTurn) -> None:
        text, self._next = self._next, None
        if self._is_ending:
            self._wire.close(CloseReason.SERVICE_RESTART, "the server is ending")
        elif self._is_token_over or turn.status == HTTPStatus.UNAUTHORIZED:
            self._wire.close(TOKEN_OVER, "the token is over")
        elif text is not None:
            self._ask(text)
            self._read_on()

    def _look(self) -> None:
        """Cut a client that has gone, close a connection that is not used, and see to the others."""
        now = self._loop.time()
        if now - self._heard > 2 * LOOK_SECONDS:
            self._transport.abort()
            return
        if self._turn is None and now - self._asked > IDLE_SECONDS:
            self._wire.close(CloseReason.GOING_AWAY, "nothing was asked for")
            return
        self._controls = 0
        self._wire.short(OUT.ping())
        self._start(self._check_token())
        self._look_deadline.set(LOOK_SECONDS, self._look)

    async def _check_token(self) -> None:
        entry = Entry(asks_policy=False)
        try:
            await entry.ask(self._app, self._offered)
        except Exception as fault:  # noqa: BLE001 - each message is checked anyway
            log_fault(_log, "a token could not be checked", fault)
        if entry.status == HTTPStatus.UNAUTHORIZED:
            self._is_token_over = True
            if self._turn is None:
                self._wire.close(TOKEN_OVER, "the token is over")

    def _watch_message(self) -> None:
        """Give a message that has begun a time by which it must have come."""
        if self._reader.is_open and not self._message_deadline.is_set:
            late = f"a message was not sent within {BODY_SECONDS:.0f} seconds"
            code = CloseReason.POLICY_VIOLATION
            self._message_deadline.set(BODY_SECONDS, partial(self._wire.close, code, late))
        elif not self._reader.is_open:
            self._message_deadline.stop()
