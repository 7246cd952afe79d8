"""Reading of connections in turns: what has come is parsed in pieces, in the turn of the address it comes from."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from server.background.faults import log_fault
from server.fairness.caller import Caller
from server.fairness.places import STEP_SECONDS

AT_ONCE: Final = 4
"""Callers whose connections are parsed in one turn of the event loop, each for `STEP_SECONDS`."""

PIECE: Final = 16 * 1024
"""Bytes that are parsed before the time is looked at. Of a body in chunks of a byte they take 0.3 ms."""

PIECES: Final = 16
"""Pieces of a caller's connections that are parsed in one turn of the event loop, however quickly: for each there is
something to read again, and to do in the application, which takes longer than to parse plain bytes.
"""

SMALL: Final = 1024
"""Bytes that are parsed as they come: many requests are no larger, and to wait for a turn would cost more."""

_log: Final = logging.getLogger("ostiary.edge")


class ReadingTurns:
    """Hands out the turns in which connections are parsed; belongs to one event loop.

    In a turn of the event loop, the connections of a caller are parsed for a millisecond or `PIECES`, one piece of each
    after the other. Callers follow each other, each behind those that wait when it has had its turn.
    """

    def __init__(self) -> None:
        self._waiting: dict[Caller, deque[PacedReading]] = {}
        self._is_due = False

    def wait(self, caller: Caller, reading: PacedReading) -> None:
        """Have it parse its pieces in the turns of the caller."""
        self._waiting.setdefault(caller, deque()).append(reading)
        self._come_again()

    def _come_again(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_due = False
        for caller in [*islice(self._waiting, AT_ONCE)]:
            connections = self._waiting.pop(caller)
            _parse_some(connections)
            if connections:
                self._waiting[caller] = connections
        self._come_again()


def _parse_some(connections: deque[PacedReading]) -> None:
    until = monotonic() + STEP_SECONDS
    for _ in range(PIECES):
        connection = connections.popleft()
        if connection.parse_piece():
            connections.append(connection)
        if not connections or monotonic() > until:
            break


class PacedReading(FlowControl):
    """Takes what a connection reads, and reads no further while some of it is not parsed.

    uvicorn's application stops the reading too, where it has not taken a body yet; nothing is parsed then. `parse` is
    called with each piece, in the `turns` of a caller.
    """

    def __init__(
        self, transport: asyncio.Transport, turns: ReadingTurns, caller: Caller, parse: Callable[[bytes], None]
    ) -> None:
        super().__init__(transport)
        self._turns = turns
        self._caller = caller
        self._parse = parse
        self._rest = memoryview(b"")
        self._is_held = self._is_waiting = False

    def take(self, data: bytes) -> None:
        """Parse what has come, at once if it is small."""
        if self._is_held:
            self._rest = memoryview(bytes(self._rest) + data)
        elif len(data) <= SMALL:
            self._parse(data)
        else:
            if not self.read_paused:
                self._transport.pause_reading()
            self._is_held = True
            self._rest = memoryview(data)
            self._wait()

    def end(self) -> bytes:
        """Read and parse no more for good, and return what is not parsed."""
        rest, self._rest = bytes(self._rest), memoryview(b"")
        self.read_paused = True
        self._parse = _nothing  # the connection, which holds this, would else be held by it
        return rest

    def pause_reading(self) -> None:
        """Read and parse no more."""
        if self._is_held:
            self.read_paused = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Go on with what has been read, and then with reading."""
        if not self._is_held:
            super().resume_reading()
        elif self.read_paused:
            self.read_paused = False
            self._wait()

    def parse_piece(self) -> bool:
        """Parse the next piece, and return whether another one is to follow."""
        if self._may_go_on():
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            try:
                self._parse(bytes(piece))
            except Exception as fault:  # noqa: BLE001 - it is logged, and others wait behind this connection
                log_fault(_log, "a request can't be read", fault)
                self._transport.abort()
            if self._may_go_on():
                return True
        self._is_waiting = False
        # What is parsed is let go, which a view of nothing would hold too: it may be long until it goes on.
        self._rest = memoryview(bytes(self._rest))
        if self._rest:
            return False
        self._is_held = False
        if not (self.read_paused or self._transport.is_closing()):
            self._transport.resume_reading()
        return False

    def _may_go_on(self) -> bool:
        return bool(self._rest) and not (self.read_paused or self._transport.is_closing())

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._turns.wait(self._caller, self)


def _nothing(_: bytes) -> None:
    """Parse nothing: the connection has ended."""
