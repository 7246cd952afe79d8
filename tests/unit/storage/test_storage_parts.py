"""Parts of records, on both databases: in their order, of their own record alone, and gone with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from policy.vocabulary import Origin
from server.storage.database.database import AlreadyThere, Database, Overtaken, ParentGone
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened

Use = Callable[[Database, RecordTable, RecordParts], Awaitable[None]]


def with_annex(make: Make, use: Use) -> None:
    async def used() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await bring_up_to_date(database, "things_parts", "things")
            await use(database, RecordTable(database, "things"), RecordParts(RecordTable(database, "things_parts")))

    asyncio.run(used())


async def added(database: Database, records: RecordTable, annex: RecordParts, identity: str, count: int) -> Record:
    record = Draft(identity, {}).owned_by(None)
    numbers = range(1, count + 1)
    parts = [annex.adding(identity, number, {"of": identity, "number": number}, None) for number in numbers]
    await database.write(records.inserting(record), *parts)
    return record


def test_parts_are_found_by_their_numbers(make: Make) -> None:
    async def use(database: Database, records: RecordTable, annex: RecordParts) -> None:
        one = await added(database, records, annex, "a", 3)
        none = await added(database, records, annex, "b", 0)
        assert await annex.get(one, 2) == {"of": "a", "number": 2}
        assert await annex.get(one, 4) is None
        assert await annex.get(none, 1) is None

    with_annex(make, use)


def test_pages_are_in_the_order_of_the_numbers_and_of_one_record(make: Make) -> None:
    async def use(database: Database, records: RecordTable, annex: RecordParts) -> None:
        for identity in ("a", "a0", "b", "A", "a-", "aa0"):
            await added(database, records, annex, identity, 2)
        record = await added(database, records, annex, "aa", 105)

        async def numbers(limit: int, after: int | None, *, newest_first: bool) -> list[int]:
            found = await annex.page(record, limit, after=after, newest_first=newest_first)
            assert all(body == {"of": "aa", "number": number} for number, body in found)
            return [number for number, _ in found]

        assert await numbers(200, None, newest_first=False) == list(range(1, 106))
        assert await numbers(200, None, newest_first=True) == list(range(105, 0, -1))
        assert await numbers(3, 99, newest_first=False) == [100, 101, 102]
        assert await numbers(3, 101, newest_first=True) == [100, 99, 98]
        assert await numbers(3, 105, newest_first=False) == []
        assert await numbers(3, 1, newest_first=True) == []

    with_annex(make, use)


def test_parts_come_and_go_with_their_record(make: Make) -> None:
    async def use(database: Database, records: RecordTable, annex: RecordParts) -> None:
        record = await added(database, records, annex, "a", 2)
        await database.write(records.removing("a", otherwise=Overtaken()))
        assert await annex.page(record, 10, after=None, newest_first=True) == []
        with pytest.raises(ParentGone):
            await database.write(annex.adding("a", 3, {}, None))
        with pytest.raises(Overtaken):
            await database.write(
                records.inserting(Draft("c", {}).owned_by(None)),
                annex.adding("c", 1, {}, None),
                records.removing("d", otherwise=Overtaken()),
            )
        nobody = Record("c", None, 1, 1, None, Origin.CREATED, "", None, 1, {})
        assert await annex.get(nobody, 1) is None

    with_annex(make, use)


def test_a_part_is_never_overwritten(make: Make) -> None:
    async def use(database: Database, records: RecordTable, annex: RecordParts) -> None:
        record = await added(database, records, annex, "a", 1)
        with pytest.raises(AlreadyThere):
            await database.write(annex.adding("a", 1, {"of": "somebody else"}, None))
        assert await annex.get(record, 1) == {"of": "a", "number": 1}

    with_annex(make, use)
