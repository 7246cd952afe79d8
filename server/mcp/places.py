"""The places for processes of programs of tools: which program makes way for another one, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Protocol

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import FairShares, NoRoom, Share, Turn


class Yielding(Protocol):
    """A program that runs for a caller."""

    @property
    def caller(self) -> Caller:
        """The caller whose share its place is of."""
        ...

    def make_way(self) -> None:
        """End the process soon, after which its place is free."""
        ...


class Places:
    """Hands out the places of `share`; a program without a call under way is `idle`, and makes way where one is waited
    for.

    A caller has calls under way in one program, and in `further` ones as far as that share goes.
    """

    def __init__(self, share: Share, further: Share) -> None:
        self._shares = FairShares(share)
        self._called = (FairShares(replace(share, each=1)), FairShares(further))
        self._waiting = Counter[Caller]()
        self._idle: dict[Yielding, None] = {}
        self._leaving: set[Yielding] = set()

    @property
    def used(self) -> int:
        """Places that are taken."""
        return self._shares.used

    @property
    def called(self) -> int:
        """Programs with calls under way."""
        return sum(shares.used for shares in self._called)

    async def call(self) -> Turn:
        """Return leave for the current caller to call a program, which ends once no call of it is under way.

        Raises NoRoom where there is none within the share's `seconds`.
        """
        for shares in self._called:
            if (turn := shares.take_now()) is not None:
                return turn
        return await _either(*self._called)

    async def take(self) -> Turn:
        """Return a place for the current caller, which its holder has to end.

        Raises NoRoom where no program has made way within the share's `seconds`.
        """
        turn = self._shares.take_now()
        if turn is not None:
            return turn
        caller = CURRENT.get()
        self._waiting[caller] += 1
        try:
            self._make_way()
            return await self._shares.take()
        finally:
            self._waiting -= Counter([caller])

    def idle(self, program: Yielding) -> None:
        """Take note that a program has no call under way any more."""
        self._idle[program] = None
        self._make_way()

    def busy(self, program: Yielding) -> None:
        """Take note that a program is called."""
        self._idle.pop(program, None)

    def left(self, program: Yielding) -> None:
        """Take note that a program has ended; its place is free."""
        self._idle.pop(program, None)
        self._leaving.discard(program)

    def _make_way(self) -> None:
        """Let programs make way, as many as are waited for: callers' own first, and others where no place is free.

        Of those, the one that is idle for longest goes first. None makes way for a caller who has all places of its
        share, and would not get that one.
        """
        is_full = self._shares.used >= self._shares.share.capacity
        leaving = Counter(each.caller for each in self._leaving)
        wanted = self._wanted(leaving) if is_full else 0
        for program in sorted(self._idle, key=lambda idle: not self._waiting[idle.caller]):
            if self._waiting[program.caller] > leaving[program.caller] or wanted > len(self._leaving):
                del self._idle[program]
                self._leaving.add(program)
                leaving[program.caller] += 1
                wanted = self._wanted(leaving) if is_full else 0
                program.make_way()

    def _wanted(self, leaving: Counter[Caller]) -> int:
        """Return how many of the places that are waited for their callers may have, once those are `leaving`."""
        most = self._shares.share.each
        return sum(
            min(count, most - self._shares.held(caller) + leaving[caller]) for caller, count in self._waiting.items()
        )


async def _either(*each: FairShares) -> Turn:
    """Return a turn of one of these, the first that there is; raises the NoRoom of the last one."""
    waits = [asyncio.create_task(shares.take(), name="place of a program of tools") for shares in each]
    taken: Turn | None = None
    try:
        for wait in asyncio.as_completed(waits):
            try:
                taken = await wait
            except NoRoom:
                continue
            return taken
        return await waits[-1]
    finally:
        # Nothing is waited for here: a caller that were cancelled in the meantime would lose the turn that it has got.
        for waiting in waits:
            waiting.cancel()
            waiting.add_done_callback(partial(_end_unused, taken))


def _end_unused(taken: Turn | None, wait: asyncio.Task[Turn]) -> None:
    """End the turn that a wait has come to, unless it is the one that is taken."""
    if not wait.cancelled() and wait.exception() is None and wait.result() is not taken:
        wait.result().end()
