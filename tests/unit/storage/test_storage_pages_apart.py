"""Bodies of pages are read on the connections for lists, so that short reads never stand behind megabytes."""

from __future__ import annotations

import asyncio

from server.storage.database.migrate import bring_up_to_date
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.body_columns import INLINE_LISTED
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.patience import PATIENCE

TEXT = "x" * 2 * INLINE_LISTED


def test_bodies_of_a_page_take_no_turn_of_short_reads(make: Make) -> None:
    async def used() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await bring_up_to_date(database, "things_parts", "things")
            records, annex = RecordTable(database, "things"), RecordParts(RecordTable(database, "things_parts"))
            made = [Draft(name, {"text": TEXT}).owned_by(None) for name in "ab"]
            parts = [annex.adding("a", number, {"text": TEXT}, None) for number in (1, 2)]
            await database.write(*map(records.inserting, made), *parts)
            listed = [stored.record for stored in await records.find_all(["a", "b"])]
            assert not any(record.body.is_here for record in listed)
            assert isinstance(database, SqliteDatabase | PostgresDatabase)
            shares = database._reads if isinstance(database, SqliteDatabase) else database._calls
            held = [shares.take_now() for _ in range(shares.share.each)]
            async with asyncio.timeout(PATIENCE):
                assert [record.body["text"] for record in await records.whole(listed)] == [TEXT, TEXT]
                page = await annex.page(made[0], 2, after=None, newest_first=False)
                assert [body["text"] for _, body in page] == [TEXT, TEXT]
            # A single record is a short read.
            alone = asyncio.ensure_future(records.whole(listed[:1]))
            await asyncio.sleep(0.01)
            assert not alone.done()
            for turn in held:
                assert turn is not None
                turn.end()
            assert [record.id for record in await alone] == [listed[0].id]

    asyncio.run(used())
