"""The queue of responses that are answered in the background: one record for each, in the database of the responses.

`server.storage.records.waiting` says what leases are. A record belongs to its response and goes with it. That of a
response whose events are stored stays for a while after its end, as no work any more, and its events stay as long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from policy.vocabulary import Principal
from server.http.held_lease import LEASE_SECONDS
from server.storage.database.database import Overtaken, Step
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable
from server.storage.records.waiting import WaitingWork, owner_of, work_of

MOST_WAITING_EACH: Final = 100
"""Responses of one caller that wait in the background or are being answered there."""

MOST_WAITING: Final = 5_000
"""Responses of all callers that wait in the background or are being answered there."""

EVENTS_KEPT_SECONDS: Final = 600
"""Seconds for which the stored events of a response can be read after its end."""

MOST_KEPT_EACH: Final = 100
"""Responses of one caller whose events are kept after their ends; those of the oldest are dropped first."""

MOST_KEPT_BYTES_EACH: Final = 64 * 1024 * 1024
"""Bytes of the stored events of one caller's responses that have ended; those of the oldest are dropped first."""

_WAITING: Final = "waiting"
_NAME: Final = "responses in the background"


@dataclass(frozen=True, slots=True)
class Lease:
    """The work on one response; `work` is its record as this process has written it.

    `tries` counts the processes that have taken it. `has_begun` once a provider may have been asked. Where the response
    `is_streamed` its events are stored, `number` is that of the next one and `stored` their bytes so far.
    `address` is that of a caller without a token.
    """

    work: Record
    tries: int = 0
    has_begun: bool = False
    is_streamed: bool = False
    number: int = 0
    stored: int = 0
    address: str | None = None

    @property
    def response(self) -> str:
        """The id of the response."""
        return self.work.parent or ""

    @property
    def is_over(self) -> bool:
        """True for a response that has ended, and whose events are kept."""
        return not self.work.facet

    @property
    def has_expired(self) -> bool:
        """True for one whose events are kept no longer."""
        return self.is_over and (self.work.expires_at or 0) <= time.time()

    @property
    def body(self) -> dict[str, Any]:
        """The body of the record."""
        return {
            "tries": self.tries,
            "has_begun": self.has_begun,
            "is_streamed": self.is_streamed,
            "number": self.number,
            "stored": self.stored,
            **({} if self.address is None else {"address": self.address}),
        }


class ResponseQueue:
    """The queue in the table `records`, whose parents are the responses in the table `responses`."""

    def __init__(self, records: RecordTable, responses: RecordTable) -> None:
        self.records = records
        self.rounds = WaitingWork(records)
        # Removed responses are marked, so that their rows may still be there.
        self._alive = (
            f'SELECT answered.id FROM "{responses.name}" AS answered JOIN "{records.name}" AS work '  # noqa: S608 - checked names
            "ON work.parent = answered.id WHERE answered.id IN ({}) AND answered.expires_at IS NULL "
            "AND work.facet <> ''"
        )

    async def check_room(self, caller: Principal | None, address: str) -> None:
        """Raise NoRoom where as many responses wait as may, of this caller or in all; one without a token has that
        address.
        """
        _, counted = work_of(caller, address, {})
        owner = None if counted is None else (counted.id, counted.issuer)
        await self.rounds.check_room(owner, _NAME, each=MOST_WAITING_EACH, most=MOST_WAITING)

    def entering(
        self, identity: str, caller: Principal | None, address: str, *, number: int | None, stored: int
    ) -> Step:
        """Return the step that has a response wait for a process, which acts as that caller; one without a token has
        that address.

        `number` is that of its next event and `stored` the bytes of those before; None where no events are stored.
        """
        lease = Lease(_NO_RECORD, is_streamed=number is not None, number=number or 0, stored=stored)
        body, owner = work_of(caller, address, lease.body)
        return self.records.inserting(Draft(_key(identity), body, identity, _WAITING, lifetime=0).owned_by(owner))

    async def find(self, identity: str) -> Lease | None:
        """Return the work on a response; None where there is none, and no events of it are kept."""
        found = await self.records.chosen("id = ?1", _key(identity), limit=1)
        return lease_of(found[0].record) if found else None

    async def find_events(self, identity: str) -> Lease | None:
        """Return what `find` returns, for a response whose events can be read."""
        lease = await self.find(identity)
        return lease if lease is not None and lease.is_streamed and not lease.has_expired else None

    async def take(self, work: Record) -> Lease | None:
        """Return the lease of work that waits; None where another process has it."""
        lease = lease_of(work)
        step, taken = self.renewing(replace(lease, tries=lease.tries + 1))
        try:
            await self.records.database.write(step)
        except Overtaken:
            return None
        return taken

    def renewing(self, lease: Lease) -> tuple[Step, Lease]:
        """Return the step after which the lease holds for its whole time, and the lease then; it raises Overtaken."""
        return self._changed(lease, _WAITING, int(time.time()) + LEASE_SECONDS)

    def pausing(self, lease: Lease, seconds: int) -> Step:
        """Return the step after which any process may take the work, in so many seconds; it raises Overtaken."""
        return self._changed(lease, _WAITING, int(time.time()) + seconds)[0]

    def ending(self, lease: Lease) -> Sequence[Step]:
        """Return the steps that end the work for good; they raise Overtaken where another process has it."""
        kept = self._changed(lease, "", int(time.time()) + EVENTS_KEPT_SECONDS)[0]
        # A removal alone would not notice another process.
        return [kept] if lease.is_streamed else [kept, self.records.removing(lease.work.id)]

    def dropping(self, identity: str) -> Step:
        """Return the step that removes the record of a response; nothing happens if there is none."""
        return self.records.removing(_key(identity))

    async def alive(self, identities: Sequence[str]) -> set[str]:
        """Return those of these responses that are there and still to be answered."""
        if not identities:
            return set()
        places = ", ".join(f"?{number}" for number in range(1, len(identities) + 1))
        rows = await self.records.database.read(self._alive.format(places), *identities)
        return {row[0] for row in rows}

    async def expired(self, most: int) -> list[Lease]:
        """Return up to `most` of those that have ended and whose events are kept no longer."""
        found = await self.records.chosen("facet = '' AND expires_at <= ?1", int(time.time()), limit=most)
        return [lease_of(stored.record) for stored in found]

    async def crowd_out(self, work: Record) -> None:
        """Let the oldest events of the caller of that work go, where more are kept than may be."""
        owner = owner_of(work)
        condition = "owner_principal IS NULL AND facet = '' AND expires_at > ?1"
        if owner is not None:
            condition = "owner_principal = ?2 AND owner_issuer = ?3 AND facet = '' AND expires_at > ?1"
        most = MOST_KEPT_EACH + MOST_WAITING_EACH
        found = await self.records.chosen(condition, int(time.time()), *(owner or ()), limit=most)
        kept = size = 0
        for lease in reversed([lease_of(stored.record) for stored in found]):
            kept, size = kept + 1, size + lease.stored
            if kept > MOST_KEPT_EACH or size > MOST_KEPT_BYTES_EACH:
                await self.rounds.postpone(lease.work, 0)

    def _changed(self, lease: Lease, facet: str, until: int) -> tuple[Step, Lease]:
        work = lease.work
        step = self.records.changing(work, lease.body, facet, until)
        return step, replace(lease, work=replace(work, version=work.version + 1, facet=facet, expires_at=until))


def lease_of(work: Record) -> Lease:
    """Return what a record of the queue says."""
    return Lease(work, **work.body)


def _key(identity: str) -> str:
    return f"work:{identity}"


_NO_RECORD: Final = Draft("", {}).owned_by(None)
