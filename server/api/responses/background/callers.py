"""The newest attributes of callers for whom something is done later: those that they have shown to any server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from typing import Final

from policy.vocabulary import Principal
from server.fairness.shown_callers import ShownCallers
from server.storage.database.database import AlreadyThere, Overtaken
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable
from server.storage.records.waiting import Owner, asker_of

MOST_AT_ONCE: Final = 200
"""Callers whose attributes a process writes down in one look at what they have shown."""


class Callers:
    """What callers have `shown` to this process, and in `records` what those with rows in `work` have shown to any.

    A row is kept for `seconds` after it was written.
    """

    def __init__(self, records: RecordTable, work: Sequence[RecordTable], shown: ShownCallers, seconds: int) -> None:
        self._records = records
        self._shown = shown
        self._seconds = seconds
        self._with_work = [
            (
                table.database,
                f'SELECT DISTINCT owner_principal, owner_issuer FROM "{table.name}" '  # noqa: S608 - a checked name
                "WHERE facet <> '' AND owner_principal IS NOT NULL",
            )
            for table in work
        ]

    async def write_down(self) -> None:
        """Write down what callers have shown since the last time, of those that something is to be done for.

        Raises DatabaseUnavailable and NoRoom; then the next call goes on.
        """
        new = self._shown.take_new()
        if not new:
            return
        try:
            waiting: set[Owner] = {
                (row[0], row[1]) for database, statement in self._with_work for row in await database.read(statement)
            }
            for principal, at in [each for each in new if (each[0].id, each[0].issuer) in waiting][:MOST_AT_ONCE]:
                await self._write(principal, at)
        except BaseException:
            for principal, _ in new:
                self._shown.keep_new(principal)
            raise

    async def newest(self, work: Record) -> Principal | None:
        """Return the caller for whom work is done, as it has shown itself last; None for one without a token."""
        return (await self.newest_at(work))[1]

    async def newest_at(self, work: Record) -> tuple[float, Principal | None]:
        """Return what `newest` returns, behind the time of that, in seconds since 1970."""
        owner, _ = asker_of(work)
        if owner is None:
            return work.created_at, None
        found: list[tuple[float, Principal]] = [(work.created_at, owner)]
        here = self.here(work)
        if here is not None:
            found.append(here)
        row = await self._find(owner)
        if row is not None:
            attributes = {name: tuple(values) for name, values in row.body["attributes"].items()}
            found.append((row.body["at"], Principal(owner.id, owner.issuer, attributes)))
        return max(found, key=lambda each: each[0])

    def here(self, work: Record) -> tuple[float, Principal] | None:
        """Return what `newest_at` does, as far as this process was shown it; None where it was not."""
        owner, _ = asker_of(work)
        shown = None if owner is None else self._shown.newest(owner.id, owner.issuer)
        return None if shown is None else (shown[1], shown[0])

    async def forget(self) -> None:
        """Remove rows whose time is over."""
        expired = await self._records.expired(int(time.time()), MOST_AT_ONCE)
        if expired:
            await self._records.database.write(*(self._records.removing(identity) for identity in expired))

    async def _find(self, caller: Principal) -> Record | None:
        found = await self._records.chosen("id = ?1", _key(caller), limit=1)
        return found[0].record if found else None

    async def _write(self, principal: Principal, at: float) -> None:
        row = await self._find(principal)
        if row is not None and row.body["at"] >= at:
            return
        body = {"attributes": {name: [*values] for name, values in principal.attributes.items()}, "at": at}
        try:
            if row is None:
                draft = Draft(_key(principal), body, lifetime=self._seconds)
                await self._records.database.write(self._records.inserting(draft.owned_by(None)))
            else:
                until = int(time.time()) + self._seconds
                await self._records.database.write(self._records.changing(row, body, "", until))
        except (AlreadyThere, Overtaken):
            self._shown.keep_new(principal)  # another server has just written; the newer one counts


def _key(caller: Principal) -> str:
    return sha256(dumps((caller.issuer, caller.id)).encode()).hexdigest()
