"""Removal of records that may have many parts: gone for every reader at once, and removed in steps.

A record with few parts is removed with them in one transaction. Another one is marked, and no read finds it from then
on; its parts are removed in the background, a few at a time, those of more than 4 KB by their sizes, and the record
after the last of them. A mark is a negative `expires_at`: until the second that it names, the process that set it goes
on; afterwards the sweep of any process does. So a removal outlives the process, and one process at a time works on it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from json import dumps
from typing import Final

from server.background.pauses import about
from server.background.tasks import BackgroundTasks, in_background
from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import FairShares, NoRoom, Share
from server.storage.database.database import DatabaseUnavailable, Overtaken, ParentGone, Step
from server.storage.records.record import Record
from server.storage.records.table import RecordTable
from server.storage.records.usage import counted_with

FEW_PARTS: Final = 50
"""Most parts that are removed in one transaction with their record; of large ones, `STEP_BYTES`."""

FIRST_STEP: Final = 20
"""Small parts in the first transaction that takes some."""

LARGEST_STEP: Final = 500
"""Most small parts in one transaction."""

STEP_BYTES: Final = 1024 * 1024
"""Bytes of large parts in one transaction, unless one alone is larger."""

LARGE_AT_ONCE: Final = 50
"""Most large parts in one transaction; their sizes are read before."""

STEP_SECONDS: Final = 0.02
"""Seconds that a transaction may take before the next one takes fewer parts."""

PAUSE_SECONDS: Final = 0.01
"""Least seconds between two transactions, in which other processes can write."""

CLAIM_SECONDS: Final = 15
"""Seconds for which a mark keeps other processes from going on with a removal."""

SWEEP_SECONDS: Final = 10.0
"""Seconds between two searches for removals that have stopped, about."""

MOST_EACH: Final = 10
MOST: Final = 100
"""Removals that one process has under way for each caller, and in all; a sweep takes up the others."""

STEPS: Final = Share("removals in steps", capacity=1, each=1, waiting=MOST, waiting_each=MOST, seconds=600.0)
"""Transactions that remove some of many parts, of one table of records in one process."""

_AT_ONCE: Final = 100

_log: Final = logging.getLogger("ostiary.storage")


class Removals:
    """Removes records of the table `records` with their rows in the tables `parts`; belongs to one event loop."""

    def __init__(self, records: RecordTable, *parts: RecordTable) -> None:
        self._database = records.database
        self._shares = FairShares(STEPS)
        self._tasks = BackgroundTasks()
        self._under_way: Counter[Caller] = Counter()
        self._is_running = False
        name, spelled = f'"{records.name}"', _SPELLED[self._database.kind]
        claim = f"UPDATE {name} SET expires_at = ?3, version = version + 1 WHERE id = ?1 AND "  # noqa: S608 - a checked name
        self._mark = f"{claim} ordering = ?2 AND (expires_at IS NULL OR expires_at > 0) RETURNING id"
        self._claim = f"{claim} expires_at = ?2 RETURNING id"
        self._parts = [_Parts(part.name, spelled) for part in parts]
        self._end = f"DELETE FROM {name} WHERE id = ?1 AND expires_at = ?2 RETURNING id"  # noqa: S608 - as above
        self._lock = spelled.locking([part.name for part in parts])
        self._hold = (
            f"SELECT 1 FROM {name} WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)"  # noqa: S608 - as above
            f"{spelled.shared}"
        )
        self._stopped = (
            f"SELECT id, expires_at FROM {name} WHERE expires_at <= ?1 AND expires_at > ?2 "  # noqa: S608 - as above
            "ORDER BY expires_at DESC LIMIT ?3"
        )

    def holding(self, identity: str) -> Step:
        """Return the step after which the record can't be removed before the transaction ends; it raises ParentGone."""
        return Step(self._hold, (identity, int(time.time())), ParentGone())

    async def remove(self, record: Record, *beside: Step) -> None:
        """Remove the record, in one transaction with `beside`; many parts are removed later.

        Raises Overtaken if it is gone, and DatabaseUnavailable.
        """
        mark = _mark()
        marking = Step(self._mark, (record.id, record.ordering, mark), Overtaken())
        if await self._has_few_parts(record.id):
            locking = [] if self._lock is None else [Step(self._lock, (record.id, counted_with(record.owner)))]
            await self._database.write(marking, *locking, Step(self._end, (record.id, mark), Overtaken()), *beside)
        else:
            await self._database.write(marking, *beside)
            self._go_on_later(record.id, mark)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on with removals that have stopped, for as long as the context lasts."""
        self._is_running = True
        try:
            async with in_background("removal sweep", self._sweep_for_ever()):
                yield
        finally:
            self._is_running = False
            await self._tasks.cancel()

    async def sweep(self) -> None:
        """Remove what other processes have marked and not removed, and records whose time is over.

        Raises DatabaseUnavailable.
        """
        while True:
            now = int(time.time())
            stopped = await self._database.read(self._stopped, now, -now, _AT_ONCE)
            for identity, seen in stopped:
                mark = _mark()
                with suppress(Overtaken):
                    await self._database.write(Step(self._claim, (identity, seen, mark), Overtaken()))
                    await self._go_on(identity, mark)
            if len(stopped) < _AT_ONCE:
                return

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self.sweep()
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("parts of deleted records are still there: %s", fault)
            await asyncio.sleep(about(SWEEP_SECONDS))

    def _go_on_later(self, identity: str, mark: int) -> None:
        caller = CURRENT.get()
        if self._is_running and self._under_way[caller] < MOST_EACH and self._under_way.total() < MOST:
            self._under_way[caller] += 1
            self._tasks.start("removal of a record", self._go_on_for(caller, identity, mark))

    async def _go_on_for(self, caller: Caller, identity: str, mark: int) -> None:
        try:
            with suppress(Overtaken, DatabaseUnavailable, NoRoom):
                await self._go_on(identity, mark)
        finally:
            self._under_way[caller] -= 1
            self._under_way += Counter()  # drops the callers without any

    async def _go_on(self, identity: str, mark: int) -> None:
        """Remove the parts step by step, and then the record; raises Overtaken if another process has taken over."""
        count = FIRST_STEP
        while True:
            # A step of each caller comes before the next one of a caller that removes much.
            async with self._shares.turn():
                removing, next_mark = await self._step(identity, count), _mark()
                renewing = Step(self._claim, (identity, mark, next_mark), Overtaken())
                began = time.monotonic()
                await self._database.write(renewing, removing)
                mark = next_mark
                took = time.monotonic() - began
            if await self._has_ended(identity, mark):
                return
            if took > STEP_SECONDS:
                count = max(1, count // 2)
            elif took < STEP_SECONDS / 2:
                count = min(LARGEST_STEP, 2 * count)
            await asyncio.sleep(max(PAUSE_SECONDS, took))

    async def _has_few_parts(self, identity: str) -> bool:
        count = size = 0
        for parts in self._parts:
            count += len(await self._database.read(parts.first, identity, FEW_PARTS + 1))
            size += sum(row[1] for row in await self._database.read(parts.large, identity, LARGE_AT_ONCE))
        return count <= FEW_PARTS and size <= STEP_BYTES

    async def _step(self, identity: str, count: int) -> Step:
        """Return the step that removes the next large parts, or up to `count` small ones if there are none, of the
        first table that has parts.
        """
        parts = self._parts[-1]
        for parts in self._parts:
            if await self._database.read(parts.first, identity, 1):
                break
        chosen: list[str] = []
        left = STEP_BYTES
        for part, size in await self._database.read(parts.large, identity, LARGE_AT_ONCE):
            left -= size
            if chosen and left < 0:
                break
            chosen.append(part)
        return Step(parts.these, (dumps(chosen),)) if chosen else Step(parts.some, (identity, count))

    async def _has_ended(self, identity: str, mark: int) -> bool:
        """Remove the record itself if it has no parts left, and return whether it is gone."""
        for parts in self._parts:
            if await self._database.read(parts.first, identity, 1):
                return False
        # A transaction of its own: the counts of the parts' owners and of the record's are not locked together.
        await self._database.write(Step(self._end, (identity, mark), Overtaken()))
        return True


def _mark() -> int:
    return -(int(time.time()) + CLAIM_SECONDS)


@dataclass(frozen=True, slots=True)
class _Spelled:
    """Statements about the parts of a record, for one kind of database.

    `some` removes up to `?2` parts of `?1`, `large` finds up to `?2` large ones with their sizes, and `these` removes
    those of a JSON list of ids. `shared` ends a SELECT whose row must stay as it is until the transaction ends. `held`
    locks all parts of one table, and `owners` are the keys of the counts of their owners.
    """

    some: str
    large: str
    these: str
    shared: str
    held: str | None = None
    owners: str = ""

    def locking(self, tables: Sequence[str]) -> str | None:
        """Return the statement that locks all parts of `?1` in the tables, and then the counts of their owners and of
        the owner `?2`, in the order in which others lock them; None where nothing needs to be locked.
        """
        if self.held is None:
            return None
        held = ", ".join(f"held{index} AS ({self.held.format(table)})" for index, table in enumerate(tables))
        owners = "".join(f" || {self.owners.format(table, index)}" for index, table in enumerate(tables))
        return (
            f"WITH {held} SELECT 1 FROM ostiary_usage WHERE key = ANY (CAST(?2 AS text){owners}) "  # noqa: S608 - checked names
            "ORDER BY key FOR UPDATE"
        )


_SPELLED: Final = {
    "sqlite": _Spelled(
        'DELETE FROM "{0}" WHERE id IN '
        '(SELECT id FROM "{0}" INDEXED BY "{0}_by_parent" WHERE parent = ?1 ORDER BY ordering, id LIMIT ?2)',
        'SELECT id, length(CAST(body AS BLOB)) FROM "{0}" INDEXED BY "{0}_large" '
        "WHERE parent = ?1 AND length(CAST(body AS BLOB)) > 4096 ORDER BY ordering, id LIMIT ?2",
        'DELETE FROM "{0}" WHERE id IN (SELECT value FROM json_each(?1))',
        "",
    ),
    "postgresql": _Spelled(
        # Two processes never wait for each other's rows.
        'DELETE FROM "{0}" WHERE id = ANY (ARRAY('
        'SELECT id FROM "{0}" WHERE parent = ?1 ORDER BY ordering, id LIMIT ?2 FOR UPDATE SKIP LOCKED))',
        'SELECT id, octet_length(body) FROM "{0}" '
        "WHERE parent = ?1 AND octet_length(body) > 4096 ORDER BY ordering, id LIMIT ?2",
        'DELETE FROM "{0}" WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(?1 AS jsonb))))',
        " FOR SHARE",
        'SELECT facet, owner_principal, owner_issuer FROM "{0}" WHERE parent = ?1 FOR UPDATE',
        'ARRAY(SELECT "{0}_counted_with"(facet, owner_principal, owner_issuer) FROM held{1})',
    ),
}


class _Parts:
    """The statements about the parts in one table; `first` finds up to `?2` parts of `?1`."""

    def __init__(self, table: str, spelled: _Spelled) -> None:
        self.some = spelled.some.format(table)
        self.large = spelled.large.format(table)
        self.these = spelled.these.format(table)
        self.first = f'SELECT 1 FROM "{table}" WHERE parent = ?1 LIMIT ?2'  # noqa: S608 - a checked name
