"""The queue of batches that are not over: one record for each, in the database of the batches.

`server.storage.records.waiting` says what leases are. A record belongs to its batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from policy.vocabulary import Principal
from server.http.held_lease import LEASE_SECONDS
from server.storage.database.database import Overtaken, Step
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable
from server.storage.records.waiting import WaitingWork, work_of

MOST_WAITING_EACH: Final = 100
"""Batches of one caller that are not over."""

MOST_WAITING: Final = 5_000
"""Batches of all callers that are not over."""

LineAgain = tuple[int, bool, int]
"""A line that is begun once more: its place, whether its request is paid, and how often it was tried."""

_PAID: Final = (True, 0)
"""What most lines are that are begun once more: paid, and not tried."""

_WAITING: Final = "waiting"
_NAME: Final = "batches that are not over"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work on a batch has come; lines are known by their places in the file, from 0.

    `tries` counts the processes that have taken it since it came further. `indexed` parts list the lines. Those before
    `next` were begun, or have ended: `open` may have been spent on and have no result, and `again` are to be begun once
    more. `outputs` and `errors` are the numbers of parts with results. Once no more lines are run, `ends` is the status
    that the batch comes to. `output_file` and `error_file` are made then. It `is_paused` while no process has to do
    with it. `writes` counts the times that the process that has it, and those before, have stored how far it has come.
    `address` is that of a caller without a token.
    """

    tries: int = 0
    indexed: int = 0
    next: int = 0
    open: tuple[int, ...] = ()
    again: tuple[LineAgain, ...] = ()
    outputs: int = 0
    errors: int = 0
    ends: str = ""
    output_file: str = ""
    error_file: str = ""
    is_paused: bool = False
    writes: int = 0
    address: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body of the record."""
        body = {name: getattr(self, name) for name in self.__slots__}
        # There may be hundreds that wait for a quota, and each change of the batch writes them.
        body["again"] = [line[0] if line[1:] == _PAID else line for line in self.again]
        if self.address is None:
            del body["address"]
        return body


@dataclass(frozen=True, slots=True)
class Lease:
    """The work on one batch; `work` is its record as this process has written it."""

    work: Record
    progress: Progress = field(default_factory=Progress)

    @property
    def batch(self) -> str:
        """The id of the batch."""
        return self.work.parent or ""

    def is_of_holder(self, known: Lease) -> bool:
        """Return whether the work is as its holder knows it, or as its holder has changed it and was not told.

        That was a renewal, or the next write. A process that takes the work changes `tries` in place of `writes`.
        """
        was_renewed = self.progress == known.progress and (self.work.expires_at or 0) >= (known.work.expires_at or 0)
        was_written = self.progress.writes == known.progress.writes + 1
        ahead = self.work.version - known.work.version
        return ahead == 0 or (ahead == 1 and (was_renewed or was_written))


class BatchQueue:
    """The queue in the table `records`, whose parents are the batches."""

    def __init__(self, records: RecordTable) -> None:
        self.records = records
        self.rounds = WaitingWork(records)

    async def check_room(self, caller: Principal | None, address: str) -> None:
        """Raise NoRoom where as many batches are under way as may be, of this caller or in all.

        A caller without a token has that address.
        """
        _, counted = work_of(caller, address, {})
        owner = None if counted is None else (counted.id, counted.issuer)
        await self.rounds.check_room(owner, _NAME, each=MOST_WAITING_EACH, most=MOST_WAITING)

    def entering(self, identity: str, caller: Principal | None, address: str) -> Step:
        """Return the step that has a batch wait for a process, which acts as that caller, or for that address."""
        body, owner = work_of(caller, address, Progress().body)
        draft = Draft(_key(identity), body, identity, _WAITING, lifetime=0)
        return self.records.inserting(draft.owned_by(owner))

    async def find(self, identity: str) -> Lease | None:
        """Return the work on a batch; None where there is none."""
        found = await self.records.chosen("id = ?1", _key(identity), limit=1)
        return lease_of(found[0].record) if found else None

    async def works(self, identities: Sequence[str]) -> dict[str, Record]:
        """Return the work on these batches, by their ids, as far as there is any."""
        found = await self.records.find_all([_key(identity) for identity in identities])
        return {stored.parent: stored.record for stored in found if stored.parent is not None}

    async def take(self, work: Record) -> Lease | None:
        """Return the lease of work that waits; None where another process has it."""
        lease = lease_of(work)
        progress = replace(lease.progress, tries=lease.progress.tries + 1, is_paused=False)
        step, taken = self.renewing(lease, progress)
        try:
            await self.records.database.write(step)
        except Overtaken:
            return None
        return taken

    def renewing(self, lease: Lease, progress: Progress | None = None) -> tuple[Step, Lease]:
        """Return the step after which the lease holds for its whole time, and the lease then; it raises Overtaken."""
        return self._changed(lease, progress or lease.progress, int(time.time()) + LEASE_SECONDS)

    def pausing(self, lease: Lease, seconds: int, *, is_fault: bool = False) -> Step:
        """Return the step after which any process may take the work, in so many seconds; it raises Overtaken.

        Attempts that have ended so do not count, except by a fault.
        """
        progress = replace(lease.progress, tries=lease.progress.tries if is_fault else 0, is_paused=True)
        return self._changed(lease, progress, int(time.time()) + seconds)[0]

    async def wake(self, identity: str) -> None:
        """Have a batch that waits for a time be taken up now."""
        lease = await self.find(identity)
        if lease is not None and lease.progress.is_paused:
            await self.rounds.postpone(lease.work, 0)

    def ending(self, lease: Lease) -> tuple[Step, Step]:
        """Return the steps that end the work for good; they raise Overtaken."""
        # A removal alone would not notice another process.
        return self._changed(lease, lease.progress, 0)[0], self.records.removing(lease.work.id)

    def _changed(self, lease: Lease, progress: Progress, until: int) -> tuple[Step, Lease]:
        work = lease.work
        step = self.records.changing(work, progress.body, _WAITING, until)
        return step, Lease(replace(work, version=work.version + 1, expires_at=until), progress)


def lease_of(work: Record) -> Lease:
    """Return what a record of the queue says."""
    body = work.body
    again = tuple((line, *_PAID) if isinstance(line, int) else tuple(line) for line in body["again"])
    return Lease(work, Progress(**{**body, "open": tuple(body["open"]), "again": again}))


def _key(identity: str) -> str:
    return f"work:{identity}"
