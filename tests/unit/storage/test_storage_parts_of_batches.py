"""The parts of a batch are removed some at a time, so that no other caller's write waits for long."""

from __future__ import annotations

import asyncio

from server.api.batches.parts import REMOVED_AT_ONCE, BatchParts
from server.storage.database.database import Database
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Record
from server.storage.records.removal import STEP_BYTES
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened


def removed(make: Make, large: int, small: int) -> list[int]:
    """How many parts each transaction removes of a batch that has so many large and small ones."""

    async def used() -> list[int]:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await bring_up_to_date(database, "things_parts", "things")
            parts = BatchParts(RecordParts(RecordTable(database, "things_parts")))
            record, other = [await _added(database, parts, name, large, small) for name in (f"a{large}", f"b{large}")]
            counts = []
            while steps := await parts.removing(record):
                counts.append(len(steps))
                await database.write(*steps)
            assert await parts.parts.numbers(record.id, 0, 1) == []
            assert len(await parts.parts.numbers(other.id, 0, 100)) == large + small
            return counts

    return asyncio.run(used())


async def _added(database: Database, parts: BatchParts, identity: str, large: int, small: int) -> Record:
    record = Draft(identity, {}).owned_by(None)
    texts = [b'"%b"\n' % (b"x" * (STEP_BYTES // 2 + 1))] * large + [b'"x"\n'] * small
    adding = [parts.output(record, number, text) for number, text in enumerate(texts, start=1)]
    await database.write(RecordTable(database, "things").inserting(record), *adding)
    return record


def test_few_parts_are_removed_in_one_transaction(make: Make) -> None:
    assert removed(make, 0, REMOVED_AT_ONCE + 3) == [REMOVED_AT_ONCE, 3]
    assert removed(make, 3, 2) == [1, 1, 3]
    assert removed(make, 1, 0) == [1]
