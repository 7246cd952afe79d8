"""Places of requests that are being worked on, so that one caller's many requests don't fill the event loop.

A request holds a place while the server works on it: it is read, its token is verified, policy and database are asked,
its answer is written. It gives the place up before it waits for a provider, for the rest of its body or for the reader
of a stream. What else takes long (an identity service, a database that is busy) is bounded by `LAPSE_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Final

from server.fairness.caller import Caller
from server.fairness.shares import FairShares, Share, Turn

WORK: Final = Share("requests that are worked on", 32, 4, waiting=16_384, waiting_each=4096, seconds=20.0, beside=2)
"""Requests on which one process works at the same time. A request takes some ten turns of the event loop, in each of
which it waits for a step, of a millisecond or less, of as many requests as another caller may have beside it."""

PROBES: Final = Share("requests to health, readiness, version and metrics", 4, 2, 1024, 256, seconds=5.0)
"""The same for the paths that cost no quota, so that they never wait for other requests."""

LATER: Final = Share("lines of batches that are worked on", 4, 2, waiting=1024, waiting_each=256, seconds=60.0)
"""The same for requests that the server makes for callers later, beside those that callers wait for."""

PIECES: Final = Share("pieces of answers", 8, 1, waiting=16_384, waiting_each=16_384, seconds=300.0)
"""Pieces of streams that are passed on, and steps of pages that are made, in one turn of the event loop; each takes up
to two milliseconds."""

LAPSE_SECONDS: Final = 0.1
"""Seconds after which a place that others wait for is free again: its request waits for something else by then."""


class NextTurn:
    """Ends turns in the next turn of the event loop, so that one turn of the loop begins no more than there are units.

    Work that never waits would otherwise take all its turns in one.
    """

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def end(self, turn: Turn) -> None:
        """End that one."""
        if not self._turns:
            asyncio.get_running_loop().call_soon(self._end_all)
        self._turns.append(turn)

    def _end_all(self) -> None:
        turns, self._turns = self._turns, []
        for turn in turns:
            turn.end()


class Room:
    """The places of one event loop, as many as `share` says."""

    def __init__(self, share: Share) -> None:
        self.shares = FairShares(share)
        self._held: deque[tuple[float, Turn]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._over = NextTurn()

    def give_back(self, turn: Turn) -> None:
        """End a turn, in the next turn of the event loop."""
        self._over.end(turn)

    def take_now(self, caller: Caller) -> Turn | None:
        """Return a turn of the caller if it need not be waited for."""
        turn = self.shares.take_now(1, caller)
        if turn is not None:
            self._note(turn)
        return turn

    async def take(self, caller: Caller) -> Turn:
        """Return a turn of the caller; raises NoRoom."""
        self._watch()
        turn = await self.shares.take(1, caller)
        self._note(turn)
        if self.shares.waiting:
            self._watch()
        return turn

    def _note(self, turn: Turn) -> None:
        held, now = self._held, asyncio.get_running_loop().time()
        # One that has lapsed would be ended for the next request that waits, and until then keep all later ones here.
        while held and (held[0][1].ended or held[0][0] <= now):
            held.popleft()[1].end()
        held.append((now + LAPSE_SECONDS, turn))

    def _watch(self) -> None:
        """Have the oldest place end when it lapses."""
        if self._timer is None and self._held:
            self._timer = asyncio.get_running_loop().call_at(self._held[0][0], self._lapse)

    def _lapse(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._held and (self._held[0][1].ended or self._held[0][0] <= now):
            self._held.popleft()[1].end()
        if self.shares.waiting:
            self._watch()


class Place:
    """The place of one request, which belongs to a caller until `leave`."""

    __slots__ = ("_room", "_turn", "caller")

    def __init__(self, room: Room, caller: Caller) -> None:
        self._room = room
        self._turn: Turn | None = None
        self.caller = caller

    @property
    def is_held(self) -> bool:
        """True until it is given up."""
        return self._turn is not None

    def take_now(self) -> bool:
        """Take a place, and return whether there was one."""
        self._turn = self._room.take_now(self.caller)
        return self._turn is not None

    async def take(self) -> None:
        """Wait for a place; raises NoRoom."""
        self._turn = await self._room.take(self.caller)

    def pass_to(self, caller: Caller) -> bool:
        """Make it the place of another caller, and return whether that has one; if not, `take` waits for one."""
        if caller == self.caller and self._turn is not None:
            return True
        self.leave()
        self.caller = caller
        return self.take_now()

    def leave(self) -> None:
        """Give the place up; later calls do nothing."""
        if self._turn is not None:
            self._room.give_back(self._turn)
            self._turn = None

    @asynccontextmanager
    async def left(self) -> AsyncIterator[None]:
        """Give the place up for as long as the context lasts, and wait for one again; raises NoRoom."""
        if self._turn is None:
            yield
            return
        self.leave()
        yield
        if not self.take_now():
            await self.take()


HELD: Final[ContextVar[Place | None]] = ContextVar("place", default=None)
"""The place of the request that runs now."""


def leave_place() -> None:
    """Give up the place of the request that runs now for good: what follows takes long, or next to nothing."""
    place = HELD.get()
    if place is not None:
        place.leave()


@asynccontextmanager
async def without_place() -> AsyncIterator[None]:
    """Give up the place of the request that runs now for as long as the context lasts; raises NoRoom at its end."""
    place = HELD.get()
    if place is None:
        yield
        return
    async with place.left():
        yield


class Pieces:
    """Bounds the pieces of streams that one turn of the event loop passes on, in all and of each caller."""

    def __init__(self, share: Share = PIECES) -> None:
        self.shares = FairShares(share)
        self._passed = NextTurn()

    async def pass_on(self) -> None:
        """Return when a piece of the current caller may be passed on."""
        self._passed.end(self.shares.take_now() or await self.shares.take())

    def pass_now(self, caller: Caller) -> bool:
        """Return whether a piece of the caller may be passed on at once; if so, it counts."""
        turn = self.shares.take_now(1, caller)
        if turn is not None:
            self._passed.end(turn)
        return turn is not None


PASSING: Final[ContextVar[Pieces | None]] = ContextVar("passing", default=None)
"""The pieces of the event loop on which the request runs now."""

STEP_SECONDS: Final = 0.001
"""Seconds for which a caller's long work, such as the making of a page, runs before others have their turn."""


class Steps:
    """Cuts long work on the event loop into steps, each of which counts as a piece of an answer of its caller.

    So one caller takes one step in one turn of the event loop, however many of its requests work.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = monotonic() + STEP_SECONDS

    async def rest(self) -> None:
        """Let others have their turn, if the step has taken its time; to be called between small parts of the work."""
        if monotonic() <= self._until:
            return
        passing = PASSING.get()
        if passing is None:
            await asyncio.sleep(0)
        else:
            await passing.pass_on()
        self._until = monotonic() + STEP_SECONDS


class Places:
    """What requests of one event loop share: the rooms for work, for probes and for what is done later, and the pieces
    of streams.
    """

    def __init__(self) -> None:
        self.work = Room(WORK)
        self.later = Room(LATER)
        self.probes = Room(PROBES)
        self.pieces = Pieces()
