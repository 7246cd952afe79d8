"""The lease of a batch that this process works on, and the changes of the batch in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from server.api.batches.queue import BatchQueue, Lease, Progress
from server.fairness.shares import NoRoom
from server.http.held_lease import LeaseLost, RenewedLease
from server.json_input.strict import Json
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import DatabaseUnavailable, Overtaken, Step
from server.storage.records.body import Body
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Record
from server.storage.records.table import RecordTable

RETRY_SECONDS: Final = 1.0
"""Seconds until a change is tried again that the database could not make."""

Change = Callable[[Record], Json]
"""Returns the new members of a batch."""


class HeldBatch(RenewedLease):
    """The lease of the work on `record`, which is as it was last read or written.

    `woken` is set when others have changed it, and when its work may go on.
    """

    def __init__(
        self, records: GuardedStore, table: RecordTable, queue: BatchQueue, lease: Lease, record: Record
    ) -> None:
        super().__init__()
        self.lease = lease
        self.record = record
        self.woken = asyncio.Event()
        self.is_done = False
        self._records = records
        self._table = table
        self._queue = queue

    @property
    def progress(self) -> Progress:
        """How far the work has come."""
        return self.lease.progress

    async def renew(self) -> None:
        """Have the lease hold again; raises Overtaken where it is gone."""
        if self.is_done:
            return
        step, renewed = self._queue.renewing(self.lease)
        try:
            await self._queue.records.database.write(step)
        except Overtaken:
            try:
                await self._look()
            except LeaseLost:
                raise Overtaken from None
        else:
            self.lease = renewed

    async def renew_late(self) -> None:
        """Have a lease hold again whose time is over, unless another process has taken the batch."""
        async with self.lock:
            try:
                await self.renew()
            except Overtaken:
                self.lose()

    async def write(
        self,
        progress: Progress,
        change: Change | None = None,
        steps: Sequence[Step] = (),
        limit: StorageLimit | None = None,
        size: int = 0,
    ) -> None:
        """Store progress, a change of the batch and what goes with them: all or nothing, however long that takes.

        Raises LeaseLost, and StorageExceeded where there is a limit, to which `size` bytes at least are added.
        """
        async with self.lock:
            number = self.progress.writes + 1
            while self.progress.writes < number:
                try:
                    await self._try(replace(progress, writes=number), change, steps, limit, size)
                except (DatabaseUnavailable, NoRoom):
                    # Where the attempt was made and only its answer was lost, the next one is overtaken by it.
                    await asyncio.sleep(RETRY_SECONDS)

    async def _try(
        self,
        progress: Progress,
        change: Change | None,
        steps: Sequence[Step],
        limit: StorageLimit | None,
        size: int,
    ) -> None:
        """Store them once, unless others have changed the batch, or an earlier attempt turns out to have done it."""
        record, (renewing, renewed) = self.record, self._queue.renewing(self.lease, progress)
        body = None if change is None else Body.of(change(record))
        changing = [] if body is None else [self._table.changing(record, body, record.facet, None)]
        try:
            await self._records.write(limit, record.owner, Stored(0, size), renewing, *changing, *steps)
        except Overtaken:
            await self._look()
            return
        self.lease = renewed
        if body is not None:
            self.record = replace(record, body=body, version=record.version + 1)

    @asynccontextmanager
    async def changing(self, progress: Progress) -> AsyncIterator[Step]:
        """Give the step that stores progress, for a transaction that is made in the context; it raises Overtaken."""
        async with self.lock:
            written = replace(progress, writes=self.progress.writes + 1)
            step, renewed = self._queue.renewing(self.lease, written)
            yield step
            self.lease = renewed

    async def check_room(self, limit: StorageLimit, size: int) -> None:
        """Raise StorageExceeded where the owner has no room for so many bytes within the limit."""
        await self._records.check_limit(limit, self.record.owner, Stored(0, size))

    def is_behind(self, work: Record | None, record: Record | None) -> bool:
        """Return whether the work and the batch are others than when they were last read or written."""
        return (
            work is None
            or record is None
            or (work.version, record.version) != (self.lease.work.version, self.record.version)
        )

    async def watch(self) -> None:
        """Notice what others have done: they may have changed the batch, or taken it."""
        async with self.lock:
            try:
                if not self.is_done:
                    await self._look()
            except LeaseLost:
                self.lose()

    async def _look(self) -> None:
        """Read the batch again; raises LeaseLost where another process has it, or it is gone."""
        lease = await self._queue.find(self.record.id)
        record = await self.found(self._records, self.record.id)
        if lease is None or record is None or not lease.is_of_holder(self.lease):
            raise LeaseLost
        self.lease = lease
        if record.version != self.record.version:
            self.record = record
            self.woken.set()

    async def pause(self, seconds: int, *, is_fault: bool = False, version: int | None = None) -> None:
        """Let any process go on in so many seconds; raises LeaseLost.

        It may go on at once where others have changed the batch since it had that `version`, as by cancelling it.
        """

        def last() -> list[Step]:
            record = self.record
            if version is not None and record.version != version:
                return [self._queue.pausing(self.lease, 0)]
            pausing = self._queue.pausing(self.lease, seconds, is_fault=is_fault)
            if version is None:
                return [pausing]
            # The batch is written as it is, so that this is overtaken by a change which has not been read yet.
            return [pausing, self._table.changing(record, record.body, record.facet, None)]

        await self._end_by(last)

    async def end(self) -> None:
        """End the work for good; raises LeaseLost."""
        await self._end_by(lambda: self._queue.ending(self.lease))

    async def _end_by(self, last: Callable[[], Sequence[Step]]) -> None:
        """Make the last change of the lease."""
        async with self.lock:
            while not self.is_done:
                try:
                    await self._queue.records.database.write(*last())
                except Overtaken:
                    await self._look()
                else:
                    self.is_done = True

    @staticmethod
    async def found(records: GuardedStore, identity: str) -> Record | None:
        """Return a batch that is there, for work that no caller asks for now."""
        known = await records.known([identity])
        whole = await records.whole([*known.values()], held=True)
        return whole[0] if whole else None
