"""The work that waits: one record for each link to ingest, and one for each caller that fills a store right now.

`server.storage.records.waiting` says what leases are. Each record belongs to a link and goes with it, so that work
whose link is gone ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from server.api.vector_stores.links import Link, new_part
from server.api.vector_stores.purges import PurgeNotes
from server.fairness.caller import CURRENT, address_of
from server.http.held_lease import LEASE_SECONDS
from server.storage.database.database import AlreadyThere, Overtaken, ParentGone, Step
from server.storage.records.record import Draft, Json, Record
from server.storage.records.table import RecordTable
from server.storage.records.waiting import Owner, WaitingWork, owner_of, work_of

MOST_TAKEN: Final = 10
"""Attempts to ingest one file, those included whose process ended; then it fails."""

_IS_SHORT: Final = {
    "sqlite": "json_extract(waiting.body, '$.long') IS NULL",
    "postgresql": "(CAST(waiting.body AS json) ->> 'long') IS NULL",
}


@dataclass(frozen=True, slots=True)
class Lease:
    """Work that this process does: the records of the work, of the place of its caller and of the part that it fills.

    `tries` counts the attempts with this one; `has_begun` once the part may hold something.
    """

    work: Record
    store: Record
    attempt: Record
    part: int
    tries: int
    has_begun: bool = False


class WorkQueue:
    """The work in the table `records`; the links are the parents of its rows.

    In `rounds` it waits; stores that the same caller fills are passed over, and in `short_rounds` also what took long
    before.
    """

    def __init__(self, records: RecordTable, notes: PurgeNotes) -> None:
        self.records = records
        self.notes = notes
        free = (
            f'NOT EXISTS (SELECT 1 FROM "{records.name}" AS held '  # noqa: S608 - a checked name
            "WHERE held.id >= 'store:' || waiting.facet || ':' AND held.id < 'store:' || waiting.facet || ';' "
            "AND COALESCE(held.owner_principal, '') = COALESCE(waiting.owner_principal, '') "
            "AND COALESCE(held.owner_issuer, '') = COALESCE(waiting.owner_issuer, '') AND held.expires_at > ?1)"
        )
        self.rounds = WaitingWork(records, free)
        self.short_rounds = WaitingWork(records, f"{free} AND {_IS_SHORT[records.database.kind]}")

    def entering(self, store: Record, link: Record) -> Sequence[Step]:
        """Return the steps of the transaction in which a link is made that is to be ingested."""
        body, owner = work_of(link.owner, address_of(CURRENT.get()), {"tries": 0})
        work = Draft(f"link:{link.id}", body, parent=link.id, facet=store.id, lifetime=0)
        return [self.records.inserting(work.owned_by(owner))]

    def ending(self, link: Link) -> Step:
        """Return the step after which a link is not ingested any more; nothing happens where that is over."""
        return self.records.removing(f"link:{link.id}")

    async def take(self, work: Record, store: Record) -> Lease | None:
        """Return the lease of work in that store; None where another process has it, or the link is gone."""
        now, part = int(time.time()), new_part()
        tries = work.body["tries"] + 1
        attempt = self.notes.attempt(store, part)
        name = f"store:{store.id}:{_tag(owner_of(work))}"
        holding = Draft(name, {}, parent=work.parent, lifetime=LEASE_SECONDS).owned_by(work.owner)
        try:
            # Its link is locked before the work, as by all who remove a link and with it the work.
            await self.records.database.write(
                Step(self.records.removing_expired(holding.id, now).statement, (holding.id, now)),
                self.records.inserting(holding),
                self.records.changing(work, {**work.body, "tries": tries}, work.facet, now + LEASE_SECONDS),
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
            self.records.changing(lease.work, _body(lease), lease.work.facet, end),
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

    def pausing(self, lease: Lease, seconds: int, *, takes_long: bool = False) -> Sequence[Step]:
        """Return the steps that end an attempt, after which another begins in so many seconds; they raise Overtaken.

        Work that `takes_long` is known for it from then on.
        """
        later = int(time.time()) + seconds
        body = {**_body(lease), **({"long": True} if takes_long else {})}
        return [
            self.records.changing(lease.work, body, lease.work.facet, later),
            self.records.removing(lease.store.id),
            self._giving_up(lease),
        ]

    def _giving_up(self, lease: Lease) -> Step:
        """Return the step after which the part of an attempt is purged, where there may be anything in it."""
        return self.notes.giving_up(lease.attempt) if lease.has_begun else self.notes.dismissing(lease.attempt)


def has_waited(work: Record) -> bool:
    """Return whether the work took long before, and made room for that of others."""
    return "long" in work.body


def _body(lease: Lease) -> Json:
    return {**lease.work.body, "tries": lease.tries}


def _tag(owner: Owner) -> str:
    """Return what tells the callers that fill one store apart; ids of callers have any characters."""
    return "" if owner is None else sha256("\0".join(owner).encode(errors="surrogatepass")).hexdigest()[:32]
