"""The work that waits: one record for each link to ingest, and one for each store that is being worked on.

A record's `expires_at` is the time from which any process may take it: that is what leases are here. Each belongs to a
link and goes with it, so that work whose link is gone ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from policy.vocabulary import Principal
from server.api.vector_stores.links import Link, new_part
from server.api.vector_stores.purges import LEASE_SECONDS, PurgeNotes
from server.storage.database.database import AlreadyThere, Overtaken, ParentGone, Step, Value
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable

MOST_TAKEN: Final = 10
"""Attempts to ingest one file, those included whose process ended; then it fails."""

Owner = tuple[str, str] | None
"""The id and the issuer of a caller; None for all without a token."""

_START: Final = ("", "")
_OWNED: Final = "owner_principal = ?2 AND owner_issuer = ?3"
_UNOWNED: Final = "owner_principal IS NULL AND owner_issuer IS NULL"
_BY_OWNER: Final = {"sqlite": ' INDEXED BY "{}_by_owner"', "postgresql": ""}


@dataclass(frozen=True, slots=True)
class Lease:
    """Work that this process does: the records of the work, of its store and of the part that it fills.

    `tries` counts the attempts with this one; `has_begun` once the part may hold something.
    """

    work: Record
    store: Record
    attempt: Record
    part: int
    tries: int
    has_begun: bool = False


class WorkQueue:
    """The work in the table `records`; the links are the parents of its rows."""

    def __init__(self, records: RecordTable, notes: PurgeNotes) -> None:
        self.records = records
        self.notes = notes
        table = f'"{records.name}"'
        # By this index the rows of a caller are found in their order, and those of others are passed over unread.
        by_owner = _BY_OWNER[records.database.kind].format(records.name)
        self._owner = (
            f"SELECT owner_principal, owner_issuer FROM {table}{by_owner} "  # noqa: S608 - a checked name
            "WHERE (owner_principal, owner_issuer) > (?1, ?2) ORDER BY owner_principal, owner_issuer LIMIT 1"
        )
        self._oldest = (
            f"SELECT id FROM {table} AS waiting{by_owner} WHERE {{}} AND expires_at <= ?1 AND facet <> '' "  # noqa: S608 - as above
            f"AND NOT EXISTS (SELECT 1 FROM {table} AS held WHERE held.id = 'store:' || waiting.facet "
            "AND held.expires_at > ?1) ORDER BY ordering, id LIMIT 1"
        )
        self._count = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE facet <> '' LIMIT ?1) AS waiting"  # noqa: S608 - as above

    def entering(self, store: Record, link: Record) -> Sequence[Step]:
        """Return the steps of the transaction in which a link is made that is to be ingested."""
        work = Draft(f"link:{link.id}", {"tries": 0}, parent=link.id, facet=store.id, lifetime=0)
        return [self.records.inserting(work.owned_by(link.owner))]

    def ending(self, link: Link) -> Step:
        """Return the step after which a link is not ingested any more; nothing happens where that is over."""
        return self.records.removing(f"link:{link.id}")

    async def next(self, after: Owner, busy: Sequence[Owner]) -> Record | None:
        """Return the oldest work of the caller that comes next after that one, in rounds; None where none can be begun.

        Callers that are `busy` are passed over, and so are stores that are worked on.
        """
        async for owner in self._round(after):
            condition = _UNOWNED if owner is None else _OWNED
            rows = [] if owner in busy else await self._read(condition, owner or ())
            found = await self.records.chosen("id = ?1", rows[0][0], limit=1) if rows else []
            if found:
                return found[0].record
        return None

    async def _read(self, condition: str, owner: Sequence[Value]) -> Sequence[Sequence[Value]]:
        return await self.records.database.read(self._oldest.format(condition), int(time.time()), *owner)

    async def _round(self, after: Owner) -> AsyncIterator[Owner]:
        """Yield the callers that have work: those behind that one, those without a token, and then all from the first
        one on.
        """
        for start in (_START,) if after is None else (after, _START):
            owner = start
            while (following := await self._following(owner)) is not None:
                yield following
                owner = following
            if start == (after or _START):
                yield None

    async def _following(self, owner: tuple[str, str]) -> tuple[str, str] | None:
        """Return the next caller in order that has work."""
        rows = await self.records.database.read(self._owner, *owner)
        return (rows[0][0], rows[0][1]) if rows else None

    async def take(self, work: Record, store: Record) -> Lease | None:
        """Return the lease of work in that store; None where another process has it, or the link is gone."""
        now, part = int(time.time()), new_part()
        tries = work.body["tries"] + 1
        attempt = self.notes.attempt(store, part)
        holding = Draft(f"store:{store.id}", {}, parent=work.parent, lifetime=LEASE_SECONDS).owned_by(None)
        try:
            # Its link is locked before the work, as by all who remove a link and with it the work.
            await self.records.database.write(
                Step(self.records.removing_expired(holding.id, now).statement, (holding.id, now)),
                self.records.inserting(holding),
                self.records.changing(work, {"tries": tries}, work.facet, now + LEASE_SECONDS),
                self.notes.records.inserting(attempt),
            )
        except (AlreadyThere, Overtaken, ParentGone):
            return None
        return Lease(replace(work, version=work.version + 1), holding, attempt, part, tries)

    async def renew(self, lease: Lease) -> Lease:
        """Return the lease, which holds again for its whole time; raises Overtaken where it or the link is gone."""
        end = int(time.time()) + LEASE_SECONDS
        renewing, attempt = self.notes.renewing(lease.attempt)
        await self.records.database.write(
            self.records.changing(lease.work, {"tries": lease.tries}, lease.work.facet, end),
            self.records.changing(lease.store, {}, "", end),
            renewing,
        )
        return replace(
            lease,
            work=replace(lease.work, version=lease.work.version + 1),
            store=replace(lease.store, version=lease.store.version + 1),
            attempt=attempt,
        )

    def finishing(self, lease: Lease) -> Sequence[Step]:
        """Return the steps that end work whose part is kept; they raise Overtaken where the part was given up."""
        removing = (self.records.removing(record.id) for record in (lease.work, lease.store))
        return [*removing, *self.notes.settling(lease.attempt)]

    def failing(self, lease: Lease) -> Sequence[Step]:
        """Return the steps that end work for good, and its attempt; they raise Overtaken."""
        removing = (self.records.removing(record.id) for record in (lease.work, lease.store))
        return [*removing, self._giving_up(lease)]

    def losing(self, lease: Lease) -> Sequence[Step]:
        """Return the steps after which nothing of an attempt stays whose work is gone; they raise Overtaken."""
        return [self._giving_up(lease)]

    def pausing(self, lease: Lease, seconds: int) -> Sequence[Step]:
        """Return the steps that end an attempt, after which another begins in so many seconds; they raise Overtaken."""
        later = int(time.time()) + seconds
        return [
            self.records.changing(lease.work, {"tries": lease.tries}, lease.work.facet, later),
            self.records.removing(lease.store.id),
            self._giving_up(lease),
        ]

    def _giving_up(self, lease: Lease) -> Step:
        """Return the step after which the part of an attempt is purged, where there may be anything in it."""
        return self.notes.giving_up(lease.attempt) if lease.has_begun else self.notes.dismissing(lease.attempt)

    async def postpone(self, work: Record, seconds: int) -> None:
        """Leave work that no process has taken alone for so many seconds."""
        later = self.records.changing(work, work.body, work.facet, int(time.time()) + seconds)
        with suppress(Overtaken):
            await self.records.database.write(later)

    async def waiting(self, most: int) -> int:
        """Return the number of links that are not ingested yet, up to `most`."""
        [(count,)] = await self.records.database.read(self._count, most)
        return int(count)


def owner_of(work: Record) -> Owner:
    """Return whose work it is."""
    owner: Principal | None = work.owner
    return None if owner is None else (owner.id, owner.issuer)
