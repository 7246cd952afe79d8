"""The records that a caller may read: pages of them, and those among given ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from policy.vocabulary import Action
from server.authz.listing import Listing
from server.authz.request_authorization import Gate
from server.fairness.outgoing import hold
from server.fairness.places import Steps
from server.storage.records.kind import RecordKind
from server.storage.records.list_steps import LARGEST_WINDOW, MOST_ASKED, ListSteps, ListTooLong
from server.storage.records.record import Page, Record
from server.storage.records.sql_filter import RowVerdict, SqlFilter, compile_filter
from server.storage.records.table import RecordTable, StoredRecord

Row = TypeVar("Row")

_MOST_AT_ONCE: Final = 500
"""Records that are read together where each needs a question of its own."""

MOST_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the bodies on one page; a page ends before the record that would pass it, but holds one at least."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page: as many records as were requested, as `MOST_PAGE_BYTES` allow, or as there are; `has_more` is exact."""

    records: tuple[Record, ...]
    has_more: bool


class PermittedRecords:
    """The records of one table that a caller may read, in the order of a list.

    A filter decides about most of them in the database; the policy is asked about the others.
    """

    def __init__(self, records: RecordTable, kind: RecordKind) -> None:
        self._records = records
        self._kind = kind

    async def page(self, gate: Gate, page: Page) -> RecordPage:
        """Return a full page of the records that the caller may read; raise ListTooLong, and NoRoom."""
        async with gate.listing(Action.READ, self._kind.type, self._kind.types) as listing:
            return await self._page(listing, page)

    async def among(self, gate: Gate, identities: Sequence[str]) -> set[str]:
        """Return those of these ids under which there are records that the caller may read, logged as one list.

        Raises ListTooLong where too many need a question of their own, Overlong and NoRoom.
        """
        found, asked = set[str](), 0
        wanted = [*dict.fromkeys(identities)]
        async with gate.listing(Action.READ, self._kind.type, self._kind.types) as listing:
            permitted = self._filter(listing)
            # In pieces, so that other requests are served between them.
            for start in range(0, len(wanted), LARGEST_WINDOW):
                rows = await self._records.among(permitted, wanted[start : start + LARGEST_WINDOW])
                asked += sum(verdict is RowVerdict.ASK for _, verdict in rows)
                if asked > MOST_ASKED:
                    raise ListTooLong(start)
                found.update(record.id for record in await self._kept(listing, rows))
        return found

    async def _page(self, listing: Listing, page: Page) -> RecordPage:
        """Return the page: first its records are found, with the sizes of their bodies, and then those are read."""
        while True:
            found = await self._found(listing, page)
            kept = _within(found, page)
            records = await whole(self._records, [stored.record async for stored in _in_steps(kept)])
            has_more = len(found) > len(kept)
            if records or not has_more:
                return RecordPage(tuple(records), has_more)
            # All of them were deleted before their bodies were read: a client would take an empty page for the end.
            last = kept[0 if page.is_backwards else -1].record
            page = replace(page, before=last) if page.is_backwards else replace(page, after=last)

    async def _found(self, listing: Listing, page: Page) -> list[StoredRecord]:
        """Return the permitted records of the page, and some more where there are."""
        permitted = self._filter(listing)
        found: list[StoredRecord] = []
        # Long pages are read in steps, so that other requests are served between them.
        wanted = replace(page, limit=min(page.limit + 1, _MOST_AT_ONCE))
        steps = ListSteps(permitted, wanted)
        while True:
            window = await self._records.page(permitted, wanted, steps.window)
            kept = await self._kept(listing, window.rows)
            found = [*kept, *found] if page.is_backwards else [*found, *kept]
            if len(found) > page.limit or window.end is None or len(_within(found, page)) < len(found):
                return found
            steps.go_on(window)
            more = min(2 * wanted.limit, _MOST_AT_ONCE)
            if page.is_backwards:
                wanted = replace(wanted, limit=more, before=window.end)
            else:
                wanted = replace(wanted, limit=more, after=window.end)

    async def _kept(self, listing: Listing, rows: Sequence[tuple[StoredRecord, RowVerdict]]) -> list[StoredRecord]:
        """Return the permitted rows; the undecided ones are asked about together."""
        rows = [(record, verdict) async for record, verdict in _in_steps(rows) if self._kind.names_of(record)]
        undecided = [self._kind.resource(record) for record, verdict in rows if verdict is RowVerdict.ASK]
        permits = await listing.readable(undecided) if undecided else []
        listing.permitted_by_filter(sum(verdict is RowVerdict.PERMIT for _, verdict in rows))
        permitted = {permit.resource.names[0] for permit in permits}
        return [
            record
            for record, verdict in rows
            if verdict is RowVerdict.PERMIT or (verdict is RowVerdict.ASK and record.id in permitted)
        ]

    def _filter(self, listing: Listing) -> SqlFilter:
        names = None if self._kind.names is None else self._kind.names.table
        return compile_filter(listing.permit.filter, self._records.database.dialect, names=names)


async def whole(table: RecordTable, records: Sequence[Record], *, held: bool = False) -> list[Record]:
    """Return these records with their bodies, once there is room for them; one that is gone is left out.

    Room that is `held` already is not taken again.
    """
    if not held:
        await hold(sum(record.body.size for record in records))
    if all(record.body.is_here for record in records):
        return [*records]
    return await table.whole(records)


async def _in_steps(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """Yield the rows, and let others have their turn from time to time."""
    steps = Steps()
    for row in rows:
        yield row
        await steps.rest()


def _within(found: Sequence[StoredRecord], page: Page) -> Sequence[StoredRecord]:
    """Return those of the records found that are on the page: the ones next to where it begins, as far as they fit."""
    size = count = 0
    for stored in reversed(found) if page.is_backwards else found:
        size += stored.size
        if count == page.limit or (count and size > MOST_PAGE_BYTES):
            break
        count += 1
    return found[len(found) - count :] if page.is_backwards else found[:count]
