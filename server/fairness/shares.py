"""A resource of fixed capacity that callers share.

The order is start-time fair queueing (Goyal, Vin, Cheng 1996): each caller has a queue of its own, and the next turn
is that of the caller that was given least, counted from when it began to wait. Unlike deficit round robin it needs no
quantum, and a caller that has just arrived waits for one turn of each other caller at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from types import TracebackType
from typing import Final

from server.fairness.caller import CURRENT, Caller

RETRY_SECONDS: Final = 1
"""Seconds after which a caller that found no room may come again."""


class NoRoom(Exception):
    """A share stays used up for longer than may be waited; the message is a sentence for the caller.

    `of_caller` is true where the caller's own requests use it up, and false where those of all callers do. `spent` is
    true where a provider has worked for the request before.
    """

    def __init__(self, name: str, *, of_caller: bool) -> None:
        whose = "your share of" if of_caller else "the room for"
        super().__init__(f"{whose} {name} is used up; try again in {RETRY_SECONDS} s")
        self.name = name
        self.of_caller = of_caller
        self.spent = False


@dataclass(frozen=True, slots=True)
class Share:
    """The numbers of a resource: `capacity` units, of which one caller holds at most `each`.

    While other callers hold units or wait for some, a caller that has `beside` units gets no more; without `beside`
    that makes no difference. `waiting` turns may wait in all, and `waiting_each` of one caller, for at most `seconds`.
    `name` is a plural for users, such as `lists of records`.
    """

    name: str
    capacity: int
    each: int
    waiting: int
    waiting_each: int
    seconds: float
    beside: int | None = None

    def __post_init__(self) -> None:
        beside = self.each if self.beside is None else self.beside
        if not (
            0 < beside <= self.each <= self.capacity and 0 <= self.waiting_each <= self.waiting and self.seconds > 0
        ):
            raise ValueError(f"the share `{self.name}` has numbers that contradict each other")


class Turn:
    """Units of a resource that a caller holds until `end`."""

    __slots__ = ("_ended", "_holder", "_shares", "size")

    def __init__(self, shares: FairShares, holder: _Holder, size: int) -> None:
        self._shares = shares
        self._holder = holder
        self._ended = False
        self.size = size

    @property
    def ended(self) -> bool:
        """True once the units are given back."""
        return self._ended

    def end(self) -> None:
        """Give the units back; later calls do nothing."""
        if not self._ended:
            self._ended = True
            self._shares._give_back(self._holder, self.size)


@dataclass(slots=True, eq=False)
class _Wait:
    size: int
    turn: asyncio.Future[Turn]


class _Holder:
    """A caller that holds units or waits for them; `given` is its virtual time."""

    __slots__ = ("caller", "given", "held", "queued", "waits")

    def __init__(self, caller: Caller, given: float) -> None:
        self.caller = caller
        self.given = given
        self.held = 0
        self.queued = False
        self.waits: deque[_Wait] = deque()


class _HeldTurn(AbstractAsyncContextManager["Turn"]):
    """Holds a turn for as long as the context lasts; a generator would cost as much as the rest of a turn."""

    __slots__ = ("_caller", "_shares", "_size", "_turn")

    def __init__(self, shares: FairShares, size: int, caller: Caller | None) -> None:
        self._shares = shares
        self._size = size
        self._caller = caller

    async def __aenter__(self) -> Turn:
        self._turn = await self._shares.take(self._size, self._caller)
        return self._turn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turn.end()


class FairShares:
    """Hands out the units of `share` in turns; belongs to one event loop.

    Work that is under way is not interrupted: `each` says how much of the resource one caller can keep from others.
    """

    def __init__(self, share: Share) -> None:
        self.share = share
        self.refusals = 0
        self._beside = share.each if share.beside is None else share.beside
        self._used = 0
        self._waiting = 0
        self._time = 0.0
        self._holders: dict[Caller, _Holder] = {}
        self._next: list[tuple[float, int, _Holder]] = []
        self._number = count()

    @property
    def used(self) -> int:
        """Units that are held."""
        return self._used

    @property
    def waiting(self) -> int:
        """Turns that are waited for."""
        return self._waiting

    def held(self, caller: Caller | None = None) -> int:
        """Return the units that a caller holds, the current one unless it is given."""
        holder = self._holders.get(CURRENT.get() if caller is None else caller)
        return 0 if holder is None else holder.held

    def turn(self, size: int = 1, caller: Caller | None = None) -> AbstractAsyncContextManager[Turn]:
        """Hold `size` units for as long as the context lasts; to enter it raises NoRoom, as `take`."""
        return _HeldTurn(self, size, caller)

    async def take(self, size: int = 1, caller: Caller | None = None) -> Turn:
        """Return a turn of `size` units (`each` of them where that is less), which its holder has to end.

        `caller` is that of the current request unless it is given. Raises NoRoom at once where as many wait as may,
        and after the share's `seconds`.
        """
        if (turn := self.take_now(size, caller)) is not None:
            return turn
        holder = self._holder(caller)
        wait = _Wait(min(size, self.share.each), asyncio.get_running_loop().create_future())
        self._admit(holder)
        holder.waits.append(wait)
        self._waiting += 1
        self._queue(holder)
        self._serve()
        try:
            async with asyncio.timeout(self.share.seconds):
                return await wait.turn
        except BaseException as fault:
            self._leave(holder, wait)
            if isinstance(fault, TimeoutError):
                raise self._refusal(holder, wait.size) from None
            raise

    def take_now(self, size: int = 1, caller: Caller | None = None) -> Turn | None:
        """Return a turn if it need not be waited for."""
        # Every request comes through here, nearly always to a free unit: so this is spelled out, without calls.
        key, share = CURRENT.get() if caller is None else caller, self.share
        if size > share.each:
            size = share.each
        if self._used + size > share.capacity:
            return None
        holder = self._holders.get(key)
        if holder is None:
            if self._waiting and self._next:
                return None
            holder = self._holders[key] = _Holder(key, self._time)
        elif (self._waiting and (self._next or holder.waits)) or (
            holder.held and holder.held + size > (share.each if len(self._holders) == 1 else self._beside)
        ):
            return None
        return self._given(holder, size)

    def refusal(self, size: int = 1, caller: Caller | None = None) -> NoRoom:
        """Return the exception for a turn that there is none of now, and that can't be waited for."""
        holder = self._holder(caller)
        self._forget(holder)
        return self._refusal(holder, size)

    def _holder(self, caller: Caller | None) -> _Holder:
        key = CURRENT.get() if caller is None else caller
        holder = self._holders.get(key)
        if holder is None:
            holder = self._holders[key] = _Holder(key, self._time)
        return holder

    def _given(self, holder: _Holder, size: int) -> Turn:
        if holder.given > self._time:
            self._time = holder.given
        holder.given = self._time + size
        holder.held += size
        self._used += size
        return Turn(self, holder, size)

    def _admit(self, holder: _Holder) -> None:
        """Raise NoRoom if as many wait as may; the newest of the caller with most waiting gives way to others."""
        if len(holder.waits) >= self.share.waiting_each:
            self._forget(holder)
            raise self._refusal(holder)
        if self._waiting < self.share.waiting:
            return
        longest = max(self._holders.values(), key=lambda other: len(other.waits))
        if len(longest.waits) <= len(holder.waits) + 1:
            self._forget(holder)
            raise self._refusal(holder)
        evicted = longest.waits.pop()
        self._waiting -= 1
        if not evicted.turn.done():
            evicted.turn.set_exception(self._refusal(longest))

    def _refusal(self, holder: _Holder, size: int = 1) -> NoRoom:
        self.refusals += 1
        of_caller = 0 < self.share.waiting_each <= len(holder.waits) or holder.held + size > self._beside
        return NoRoom(self.share.name, of_caller=of_caller)

    def _queue(self, holder: _Holder) -> None:
        """Give the holder a place in the order, unless it has one."""
        if holder.waits and not holder.queued:
            holder.queued = True
            heappush(self._next, (max(self._time, holder.given), next(self._number), holder))

    def _give_back(self, holder: _Holder, size: int) -> None:
        holder.held -= size
        self._used -= size
        if not (self._waiting or self._next):
            # Nearly every turn ends so: the holder, which waits for nothing either, is dropped as `_forget` does it.
            if not holder.held:
                self._holders.pop(holder.caller, None)
            return
        if not holder.held:
            self._forget(holder)
        if self._waiting or self._next:
            self._queue(holder)
            self._serve()

    def _serve(self) -> None:
        """Begin the turns that there is room for, in their order."""
        while self._next:
            holder = self._next[0][2]
            if not holder.waits:
                self._unqueue(holder)
                continue
            wait = holder.waits[0]
            if wait.turn.done():  # cancelled, and about to leave
                holder.waits.popleft()
                self._waiting -= 1
                continue
            most = self.share.each if len(self._holders) == 1 else self._beside
            if holder.held and holder.held + wait.size > most:
                self._unqueue(holder)  # it is queued again when one of its turns ends
                continue
            if self._used + wait.size > self.share.capacity:
                return
            self._unqueue(holder)
            holder.waits.popleft()
            self._waiting -= 1
            wait.turn.set_result(self._given(holder, wait.size))
            self._queue(holder)

    def _unqueue(self, holder: _Holder) -> None:
        heappop(self._next)
        holder.queued = False
        self._forget(holder)

    def _leave(self, holder: _Holder, wait: _Wait) -> None:
        """Stop waiting; a turn that was given just before is given back."""
        if wait in holder.waits:
            holder.waits.remove(wait)
            self._waiting -= 1
            self._queue(holder)  # the next one may be small enough for what is left of the caller's share
            self._serve()
        elif not wait.turn.cancelled() and wait.turn.exception() is None:
            wait.turn.result().end()
        self._forget(holder)

    def _forget(self, holder: _Holder) -> None:
        """Drop what is kept of a caller that holds nothing and waits for nothing.

        The last one that stays may then have its whole share, so that its turns have a place in the order again.
        """
        if not (holder.held or holder.waits or holder.queued):
            self._holders.pop(holder.caller, None)
            if self._waiting and self._beside < self.share.each and len(self._holders) == 1:
                self._queue(next(iter(self._holders.values())))
