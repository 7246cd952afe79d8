"""Parts of records that are too large to be read with each record: numbered rows in a table beside theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from policy.vocabulary import Principal
from server.fairness.outgoing import hold
from server.storage.database.database import Row, Step, Value
from server.storage.records.body import Body
from server.storage.records.body_columns import INLINE, body_columns
from server.storage.records.permitted import MOST_PAGE_BYTES
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable
from server.storage.records.usage import owner_key


class RecordParts:
    """The parts of records, each a body under a number from 1 on; the records' ids hold no `/`.

    They are created in a transaction with a change of their record, never change, and are deleted with it. They have no
    owner: a caller gets them only after the guarded store has permitted the record.
    """

    def __init__(self, records: RecordTable) -> None:
        self.records = records
        one, none, whole = (body_columns(records.database.kind, most) for most in (INLINE, 0, None))
        table = f'FROM "{records.name}" WHERE id'
        self._find = f"SELECT id, {one} {table} = ?1"
        self._whole = f"SELECT id, {whole} {table} = ?1"
        between = f"{table} > ?1 AND id < ?2 ORDER BY id"
        self._sizes = {
            True: f"SELECT id, {none} {between} DESC LIMIT ?3",
            False: f"SELECT id, {none} {between} LIMIT ?3",
        }
        self._texts = {
            True: f"SELECT id, {whole} {between} DESC LIMIT ?3",
            False: f"SELECT id, {whole} {between} LIMIT ?3",
        }

    def adding(self, identity: str, number: int, body: Mapping[str, Any], payer: Principal | None) -> Step:
        """Return the step that adds a part to the record, which counts with `payer`; it raises AlreadyThere, and
        ParentGone.
        """
        part = Draft(_key(identity, number), body, parent=identity, facet=owner_key(payer))
        return self.records.inserting(part.owned_by(None))

    def removing(self, identity: str, number: int) -> Step:
        """Return the step that removes a part that the record no longer needs; nothing happens if there is none."""
        return self.records.removing(_key(identity, number))

    async def numbers(self, identity: str, after: int, most: int) -> list[tuple[int, int]]:
        """Return the numbers and the sizes of up to `most` parts behind that number, in order."""
        found = await self._read(self._sizes[False], _key(identity, after), f"{identity}0", most)
        return [(number, body.size) for number, body in found]

    async def next(self, identity: str, after: int) -> tuple[int, bytes] | None:
        """Return the number and the text of the first part behind that number; None if there is none.

        The caller has taken room for it.
        """
        found = await self._read(self._texts[False], _key(identity, after), f"{identity}0", 1)
        return (found[0][0], found[0][1].text) if found else None

    async def get(self, record: Record, number: int) -> Body | None:
        """Return that part of the record, once there is room for it; None if there is none. Raises NoRoom."""
        key = _key(record.id, number)
        found = await self._read(self._find, key)
        if not found or found[0][1].is_here:
            return found[0][1] if found else None
        await hold(found[0][1].size)
        found = await self._read(self._whole, key)
        return found[0][1] if found else None

    async def page(
        self, record: Record, limit: int, *, after: int | None, newest_first: bool, from_end: bool = False
    ) -> list[tuple[int, Body]]:
        """Return up to `limit` parts with their numbers, those after `after` in the order requested.

        Of those that do not fit into `MOST_PAGE_BYTES`, the last ones are left out, or with `from_end` the first ones.
        Raises NoRoom.
        """
        find = self.records.database.scan
        between = _between(record, after, newest_first=newest_first)
        found = await self._read(self._sizes[newest_first], *between, limit, find=find)
        kept = _within(found[::-1] if from_end else found)
        await hold(sum(body.size for _, body in kept))
        if not kept:
            return []
        first = kept[-1 if from_end else 0][0]
        before = first + 1 if newest_first else first - 1
        between = _between(record, before, newest_first=newest_first)
        return await self._read(self._texts[newest_first], *between, len(kept), find=find)

    async def _read(
        self, statement: str, *values: Value, find: Callable[..., Awaitable[list[Row]]] | None = None
    ) -> list[tuple[int, Body]]:
        rows = await (find or self.records.database.read)(statement, *values)
        return [(int(identity.rpartition("/")[2]), Body(text, size)) for identity, size, text in rows]


def _between(record: Record, after: int | None, *, newest_first: bool) -> tuple[str, str]:
    """Return the ids between which the parts after `after` are."""
    low, high = f"{record.id}/", f"{record.id}0"
    if after is None:
        return low, high
    return (low, _key(record.id, after)) if newest_first else (_key(record.id, after), high)


def _within(found: Sequence[tuple[int, Body]]) -> Sequence[tuple[int, Body]]:
    """Return the first of the parts found, as far as they fit on a page."""
    sizes = accumulate(body.size for _, body in found)
    return found[: max(1, sum(size <= MOST_PAGE_BYTES for size in sizes))]


def _key(identity: str, number: int) -> str:
    """Return the id of a part; ids of one record's parts sort by number, between `/` and `0`."""
    return f"{identity}/{number:09}"
