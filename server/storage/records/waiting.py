"""Work that waits in a table of records until a process takes it, in rounds by the callers for whom it is done.

A record's `expires_at` is the time from which any process may take it: that is what leases are here. A record whose
facet is empty is no work. Its owner is the caller of the rounds: for a caller without a token, one that stands for its
address, which the body has as `address`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from policy.vocabulary import Principal
from server.fairness.shares import NoRoom
from server.storage.database.database import Overtaken, Row
from server.storage.records.record import Record
from server.storage.records.table import RecordTable

Owner = tuple[str, str] | None
"""The id and the issuer of a caller, or what stands for the address of one without a token; None for all whose address
is not known.
"""

_BY_ADDRESS: Final = "address of a caller without a token"

_ADDRESS: Final = "address"
_START: Final = ("", "")
_OWNED: Final = "owner_principal = ?2 AND owner_issuer = ?3"
_UNOWNED: Final = "owner_principal IS NULL AND owner_issuer IS NULL"
_BY_OWNER: Final = {"sqlite": ' INDEXED BY "{}_by_owner"', "postgresql": ""}


class WaitingWork:
    """The work in the table `records`.

    A row can be taken while `free` holds of it, a condition in which `waiting` is the row and `?1` the time; it becomes
    part of the statement unquoted.
    """

    def __init__(self, records: RecordTable, free: str = "TRUE") -> None:
        self._records = records
        table = f'"{records.name}"'
        # By this index the rows of a caller are found in their order, and those of others are passed over unread.
        by_owner = _BY_OWNER[records.database.kind].format(records.name)
        self._owner = (
            f"SELECT owner_principal, owner_issuer FROM {table}{by_owner} "  # noqa: S608 - a checked name
            "WHERE (owner_principal, owner_issuer) > (?1, ?2) ORDER BY owner_principal, owner_issuer LIMIT 1"
        )
        self._oldest = (
            f"SELECT id FROM {table} AS waiting{by_owner} WHERE {{}} AND expires_at <= ?1 AND facet <> '' "  # noqa: S608 - as above
            f"AND {free} ORDER BY ordering, id LIMIT 1"
        )
        self._count = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE facet <> '' LIMIT ?1) AS waiting"  # noqa: S608 - as above
        self._count_of = (
            f"SELECT count(*) FROM (SELECT 1 FROM {table}{by_owner} WHERE {{}} AND facet <> '' LIMIT ?1) AS waiting"  # noqa: S608 - as above
        )

    async def next(self, after: Owner, busy: Collection[Owner]) -> Record | None:
        """Return the oldest work of the caller that comes next after that one, in rounds; None where none can be begun.

        Callers that are `busy` are passed over.
        """
        async for owner in self._round(after):
            rows = [] if owner in busy else await self._read(self._oldest, int(time.time()), owner)
            found = await self._records.chosen("id = ?1", rows[0][0], limit=1) if rows else []
            if found:
                return found[0].record
        return None

    async def postpone(self, work: Record, seconds: int) -> None:
        """Leave work that no process has taken alone for so many seconds."""
        later = self._records.changing(work, work.body, work.facet, int(time.time()) + seconds)
        with suppress(Overtaken):
            await self._records.database.write(later)

    async def check_room(self, owner: Owner, name: str, *, each: int, most: int) -> None:
        """Raise NoRoom, which names the work, where as much waits as may: of this caller `each`, and of all `most`."""
        if await self.waiting_of(owner, each) >= each:
            raise NoRoom(name, of_caller=True)
        if await self.waiting(most) >= most:
            raise NoRoom(name, of_caller=False)

    async def waiting(self, most: int) -> int:
        """Return the number of rows that are work, up to `most`."""
        [(count,)] = await self._records.database.read(self._count, most)
        return int(count)

    async def waiting_of(self, owner: Owner, most: int) -> int:
        """Return what `waiting` returns, for one caller."""
        [(count,)] = await self._read(self._count_of, most, owner)
        return int(count)

    async def _read(self, statement: str, first: int, owner: Owner) -> Sequence[Row]:
        condition = _UNOWNED if owner is None else _OWNED
        return await self._records.database.read(statement.format(condition), first, *(owner or ()))

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
        """Return the next caller in order that has a row."""
        rows = await self._records.database.read(self._owner, *owner)
        return (rows[0][0], rows[0][1]) if rows else None


def work_of(caller: Principal | None, address: str, body: dict[str, Any]) -> tuple[dict[str, Any], Principal | None]:
    """Return the body and the owner of a record of work for that caller, which has the address if it has no token."""
    if caller is not None or not address:
        return body, caller
    return {**body, _ADDRESS: address}, Principal(address, _BY_ADDRESS)


def asker_of(work: Record) -> tuple[Principal | None, str]:
    """Return the caller for whom work is done, None for one without a token, and the address of the latter."""
    address = work.body.get(_ADDRESS)
    return (work.owner, "") if address is None else (None, address)


def owner_of(work: Record) -> Owner:
    """Return the caller that work counts for in the rounds."""
    return None if work.owner is None else (work.owner.id, work.owner.issuer)
