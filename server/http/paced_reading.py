"""Reading of connections in turns: what has come is parsed in pieces, in the turn of the address it comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl

from server.fairness.caller import Caller
from server.fairness.places import STEP_SECONDS, Pieces
from server.fairness.shares import NoRoom, Share

PARSED: Final = Share("pieces of requests", 4, 1, waiting=16_384, waiting_each=16_384, seconds=60.0)
"""Connections of which a piece is parsed in one turn of the event loop; each takes a millisecond or less."""

PIECE: Final = 16 * 1024
"""Bytes that are parsed before the time is looked at. Of a body in chunks of a byte they take 0.3 ms."""

SMALL: Final = 4 * 1024
"""Bytes that are parsed as they come: nearly every request is smaller, and to count them would cost more."""


class PacedReading(FlowControl):
    """Takes what a connection reads, and reads no further while some of it is not parsed.

    uvicorn's application stops the reading too, where it has not taken a body yet; nothing is parsed then. `parse` is
    called with each piece, `start` with what parses the rest, and `caller` is whose turns that takes.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        pieces: Pieces,
        caller: Caller,
        parse: Callable[[bytes], None],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        super().__init__(transport)
        self._pieces = pieces
        self._caller = caller
        self._parse = parse
        self._start = start
        self._rest = memoryview(b"")
        self._is_resting = self._is_parsing = False

    def take(self, data: bytes) -> None:
        """Parse what has come: at once if it is small, or if it is one piece and its turn has come."""
        if self._is_resting:
            self._rest = memoryview(bytes(self._rest) + data)
        elif len(data) <= SMALL or (len(data) <= PIECE and self._pieces.pass_now(self._caller)):
            self._parse(data)
        else:
            if not self.read_paused:
                self._transport.pause_reading()
            self._is_resting = True
            self._rest = memoryview(data)
            self._go_on()

    def end(self) -> bytes:
        """Read and parse no more for good, and return what is not parsed."""
        rest, self._rest = bytes(self._rest), memoryview(b"")
        self.read_paused = True
        self._parse = self._start = _nothing  # the connection, which holds this, would else be held by it
        return rest

    def pause_reading(self) -> None:
        """Read and parse no more."""
        if self._is_resting:
            self.read_paused = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Go on with what has been read, and then with reading."""
        if not self._is_resting:
            super().resume_reading()
        elif self.read_paused:
            self.read_paused = False
            self._go_on()

    def _go_on(self) -> None:
        if not self._is_parsing:
            self._is_parsing = True
            self._start(self._parse_rest())

    def _can_go_on(self) -> bool:
        return bool(self._rest) and not (self.read_paused or self._transport.is_closing())

    async def _parse_rest(self) -> None:
        try:
            while self._can_go_on():
                await self._pieces.pass_on(self._caller)
                until = monotonic() + STEP_SECONDS
                while self._can_go_on():
                    piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
                    self._parse(bytes(piece))
                    if monotonic() > until:
                        break
        except NoRoom:
            self._transport.abort()
        finally:
            self._is_parsing = False
        if self._rest:
            self._rest = memoryview(
                bytes(self._rest)
            )  # lets go of what is parsed, since it may be long until it goes on
            return
        self._is_resting = False
        if not (self.read_paused or self._transport.is_closing()):
            self._transport.resume_reading()


def _nothing(_: object) -> None:
    """Do nothing."""
