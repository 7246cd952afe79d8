"""Batches: the worker of one process.

What waits is in the database, so that any process goes on with it, in rounds of the callers. One that has been worked
on for a while makes room where others wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from server.api.batches.held import HeldBatch
from server.api.batches.queue import BatchQueue
from server.api.batches.work import BatchWork
from server.background.lasting import FINISH_SECONDS
from server.background.pauses import about, until_woken
from server.background.tasks import BackgroundTasks, in_background
from server.fairness.shares import NoRoom
from server.storage.database.database import DatabaseUnavailable
from server.storage.records.guarded import GuardedStore
from server.storage.records.table import RecordTable
from server.storage.records.waiting import Owner, owner_of

AT_ONCE: Final = 16
"""Batches that one process works on at the same time."""

AT_ONCE_EACH: Final = 4
"""Of these, those of one caller."""

FIRST: Final = 256
"""Batches beyond these, one for each caller that has none: lines of other callers may take an hour each. No more than
`max_concurrent_batches`, where that is configured.
"""

SLICE_SECONDS: Final = 20.0
"""Seconds after which a batch makes room for those of other callers that wait."""

POLL_SECONDS: Final = 3.0
"""Seconds between two looks for batches that another process was asked for, about."""

WATCH_SECONDS: Final = 1.0
"""Seconds between two looks whether batches that this process works on were cancelled elsewhere."""

MOST_COUNTED: Final = 10_000
"""Batches that are not over, as far as they are counted."""

_log: Final = logging.getLogger("ostiary.api")


class Batches:
    """Works on what waits in a queue, `at_once` batches at the same time; belongs to one event loop.

    A caller that has none gets one beyond these, of `first`. Batches that make room are not counted while their lines
    end. `waiting` is the number of batches that were not over when it last looked, up to `MOST_COUNTED`.
    """

    def __init__(
        self, records: GuardedStore, table: RecordTable, queue: BatchQueue, work: BatchWork, at_once: int, first: int
    ) -> None:
        self._records = records
        self._table = table
        self._queue = queue
        self._work = work
        self._at_once = at_once
        self._first = first
        self.waiting = 0
        self._tasks = BackgroundTasks()
        self._woken = asyncio.Event()
        self._held: dict[str, HeldBatch] = {}
        self._since: dict[str, float] = {}
        self._leaving = set[str]()
        self._busy = Counter[Owner]()
        self._after: Owner = None

    @property
    def lines(self) -> int:
        """The number of lines that this process has under way."""
        return self._work.lines

    async def wake(self, identity: str) -> None:
        """Have this process look for work now, and at that batch; others look within some seconds."""
        held = self._held.get(identity)
        if held is not None:
            await held.watch()
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work for as long as the context lasts; at its end, bring lines to an end that are near it."""
        try:
            async with in_background("batches", self._work_for_ever(), self._watch_for_ever()):
                yield
        finally:
            for identity in self._held:
                self._work.leave(identity)
            await self._tasks.end_within(FINISH_SECONDS)

    async def _work_for_ever(self) -> None:
        while True:
            self._woken.clear()
            try:
                begun = await self._begin()
                if not begun:
                    self.waiting = await self._queue.rounds.waiting(MOST_COUNTED)
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("batches wait: %s", fault)
                begun = False
            if not begun:
                await until_woken(self._woken, about(POLL_SECONDS))

    async def _begin(self) -> bool:
        """Begin with the next batch, and return whether there was any."""
        staying = len(self._held) - len(self._leaving)
        is_full = staying >= self._at_once
        busy = [owner for owner, count in self._busy.items() if count >= (1 if is_full else AT_ONCE_EACH)]
        work = await self._queue.rounds.next(self._after, busy)
        if work is None:
            return False
        if staying >= self._at_once + self._first:
            return self._make_room()
        before = self._held.get(work.parent or "")
        if before is not None:
            # Its lease has run out, since this process or its database stood still, and no other has taken it.
            await before.renew_late()
            return not before.is_done
        self._after = owner = owner_of(work)
        lease = await self._queue.take(work)
        if lease is None:
            return True  # another process was faster
        record = await HeldBatch.found(self._records, lease.batch)
        if record is None:
            return True
        held = self._held[record.id] = HeldBatch(self._records, self._table, self._queue, lease, record)
        self._since[record.id] = asyncio.get_running_loop().time()
        self._busy[owner] += 1
        self._tasks.start("batch", self._do(owner, held))
        return True

    def _make_room(self) -> bool:
        """Let the batch go that has been worked on for longest, if that is long enough; return whether there was one.

        It may have lines under way for long, and so may those that were let go before it: at most `at_once` of them.
        """
        if len(self._leaving) >= self._at_once:
            return False
        now = asyncio.get_running_loop().time()
        staying = self._since.keys() - self._leaving
        for identity in sorted(staying, key=lambda each: self._since[each]):
            if now - self._since[identity] <= SLICE_SECONDS:
                break
            if self._work.leave(identity):
                self._leaving.add(identity)
                return True
        return False

    async def _do(self, owner: Owner, held: HeldBatch) -> None:
        try:
            await self._work.do(held)
        except (DatabaseUnavailable, NoRoom) as fault:
            # What is left undone is taken up once the lease is over.
            _log.warning("a batch stops: %s", fault)
        finally:
            del self._held[held.record.id], self._since[held.record.id]
            self._leaving.discard(held.record.id)
            self._busy[owner] -= 1
            self._busy += Counter()  # drops the callers without any
            self._woken.set()

    async def _watch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(about(WATCH_SECONDS))
            try:
                await self._watch()
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("batches under way were not looked at: %s", fault)

    async def _watch(self) -> None:
        """Look at all batches at once, and then at each that has changed."""
        held = dict(self._held)
        works = await self._queue.works([*held])
        records = await self._records.known([*held])
        for identity, each in held.items():
            if each.is_behind(works.get(identity), records.get(identity)):
                await each.watch()
