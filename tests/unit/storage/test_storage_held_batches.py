"""A batch that a process holds, over a database that does not tell what became of a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from server.api.batches import held as held_module
from server.api.batches.batch import counted, moved, new_body
from server.api.batches.body import CreateBatch
from server.api.batches.held import HeldBatch
from server.api.batches.queue import BatchQueue
from server.api.batches.usage import NOTHING
from server.http.held_lease import LeaseLost
from server.storage.database.counting import UNCOUNTED
from server.storage.database.database import Database, DatabaseUnavailable, InDoubt, Overtaken, Step, Value
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.body import Body
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened


class Doubtful:
    """A real database; the next change is told as in doubt, and made `at` once, later or not at all.

    So many `reads` fail then, and `others` do something first.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.at = ""
        self.reads = 0
        self.others: Callable[[], Awaitable[None]] | None = None
        self._late: tuple[Step, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def read(self, statement: str, *values: Value) -> Any:
        """Read, or fail."""
        if not self.at and self.reads:
            self.reads -= 1
            raise DatabaseUnavailable("away")
        return await self._database.read(statement, *values)

    async def write(self, *steps: Step) -> None:
        """Make a change."""
        at, self.at = self.at, ""
        if at == "once":
            await self._database.write(*steps)
        if at == "later":
            self._late = steps
        if at:
            if self.others is not None:
                await self.others()
            raise InDoubt("lost")
        late, self._late = self._late, ()
        if late:
            with suppress(Overtaken):
                await self._database.write(*late)
        await self._database.write(*steps)


class Holding:
    """The batch that is held, and what others do to it."""

    def __init__(self, database: Database) -> None:
        self.database = Doubtful(database)
        self.table = RecordTable(cast(Database, self.database), "tasks")
        self.queue = BatchQueue(RecordTable(cast(Database, self.database), "tasks_work"))
        self.store = GuardedStore(self.table, "batch")
        self.others = RecordTable(database, "tasks")

    async def begun(self) -> HeldBatch:
        """Return a batch that this process holds."""
        draft = Draft("batch_1", new_body(CreateBatch("/v1/embeddings", "file-1", {}, None))).owned_by(None)
        await self.table.database.write(self.table.inserting(draft), self.queue.entering("batch_1", None, ""))
        work = await self.queue.rounds.next(None, ())
        assert work is not None
        lease = await self.queue.take(work)
        record = await HeldBatch.found(self.store, "batch_1")
        assert lease is not None
        assert record is not None
        return HeldBatch(self.store, self.table, self.queue, lease, record)

    async def cancelled(self) -> None:
        """Have a caller cancel it."""
        record = await HeldBatch.found(GuardedStore(self.others, "batch"), "batch_1")
        assert record is not None
        body = Body.of(moved(record, "cancelling"))
        await self.others.database.write(self.others.changing(record, body, record.facet, None))

    async def taken(self) -> None:
        """Have another process take it, as if the time of its lease were over."""
        lease = await self.queue.find("batch_1")
        assert lease is not None
        progress = replace(lease.progress, tries=lease.progress.tries + 1)
        await self.others.database.write(self.queue.renewing(lease, progress)[0])

    async def shown(self) -> tuple[int, int, str]:
        """Return the place of the next line, the lines that have ended well, and the status, as they are stored."""
        lease, record = await self.queue.find("batch_1"), await HeldBatch.found(self.store, "batch_1")
        assert lease is not None
        assert record is not None
        return lease.progress.next, record.body["counts"][1], record.body["status"]


def held(make: Make, done: Callable[[Holding, HeldBatch], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "tasks", None)
            await bring_up_to_date(database, "tasks_work", "tasks", UNCOUNTED)
            at = Holding(database)
            await done(at, await at.begun())

    asyncio.run(worked())


async def line_ended(batch: HeldBatch) -> None:
    progress = replace(batch.progress, tries=0, next=batch.progress.next + 1)
    await batch.write(progress, lambda record: counted(record, 1, 0, NOTHING))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_module, "RETRY_SECONDS", 0)


@pytest.mark.parametrize("at", ["once", "later", "never"])
@pytest.mark.parametrize("reads", [0, 2])
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_change_in_doubt_is_made_once(make: Make, at: str, reads: int, is_cancelled: bool) -> None:
    async def done(place: Holding, batch: HeldBatch) -> None:
        place.database.at, place.database.reads = at, reads
        place.database.others = place.cancelled if is_cancelled else None
        await line_ended(batch)
        place.database.reads = 0
        await line_ended(batch)
        assert await place.shown() == (2, 2, "cancelling" if is_cancelled else "validating")
        assert batch.record.body["counts"][1] == 2

    held(make, done)


@pytest.mark.parametrize("at", ["once", "later", "never"])
def test_a_lease_whose_renewal_is_in_doubt_is_kept(make: Make, at: str) -> None:
    async def renewal_in_doubt(place: Holding, batch: HeldBatch) -> None:
        place.database.at = at
        with pytest.raises(InDoubt):
            await batch.renew()

    async def done(place: Holding, batch: HeldBatch) -> None:
        await renewal_in_doubt(place, batch)
        await batch.renew()
        await renewal_in_doubt(place, batch)
        await line_ended(batch)
        await renewal_in_doubt(place, batch)
        with batch._block:  # what is lost is interrupted here
            await batch.watch()
        # A change like the renewal is another one.
        await renewal_in_doubt(place, batch)
        await batch.write(batch.progress, lambda record: moved(record, "failed"))
        assert await place.shown() == (1, 1, "failed")
        await renewal_in_doubt(place, batch)
        await batch.pause(100)
        lease = await place.queue.find("batch_1")
        assert lease is not None
        assert lease.progress.is_paused

    held(make, done)


@pytest.mark.parametrize("at", ["", "once", "never"])
def test_a_batch_that_another_process_has_taken_is_lost(make: Make, at: str) -> None:
    async def done(place: Holding, batch: HeldBatch) -> None:
        place.database.at = at
        if at:
            with pytest.raises(InDoubt):
                await batch.renew()
        await place.taken()
        with pytest.raises(Overtaken):
            await batch.renew()
        for lost in (line_ended(batch), batch.pause(0), batch.end()):
            with pytest.raises(LeaseLost):
                await lost
        assert await place.shown() == (0, 0, "validating")
        await batch.watch()
        with pytest.raises(LeaseLost), batch._block:
            pass

    held(make, done)
