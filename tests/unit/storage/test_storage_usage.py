"""What owners keep: counted with every change, never more than a limit, and never other than what is there."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database import migrate
from server.storage.database.counting import FILES, ITEMS, PARTS, RECORDS, UNCOUNTED
from server.storage.database.database import Database, Overtaken
from server.storage.database.migrate import bring_up_to_date, migrations
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable, size_of
from server.storage.records.usage import (
    OverLimit,
    TooManyParts,
    having_at_most,
    kept_by,
    owner_key,
    staying_within,
)
from tests.support.databases import Make, empty_schema, opened

ANN = Principal("ann", "https://a.example", {"teams": ("x",)})
BEN = Principal("bén", "https://b.example", {})
OWNERS = (ANN, BEN, None)
TABLES = {
    "wholes": (None, RECORDS),
    "items": ("wholes", ITEMS),
    "notes": ("wholes", PARTS),
    "files": (None, FILES),
    "leases": (None, UNCOUNTED),
}
TEN = StorageLimit(10, None, "server.quota.max_records", "server.quota.max_bytes")


async def set_up(database: Database) -> dict[str, RecordTable]:
    for name, (parent, counting) in TABLES.items():
        await bring_up_to_date(database, name, parent, counting)
    return {name: RecordTable(database, name) for name in TABLES}


def with_tables(make: Make, work: Callable[[Database, dict[str, RecordTable]], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await work(database, await set_up(database))

    asyncio.run(worked())


async def counted(database: Database) -> dict[str, tuple[int, int]]:
    rows = await database.read("SELECT key, records, bytes FROM ostiary_usage")
    return {key: (records, size) for key, records, size in rows}


def expected(records: Iterable[tuple[str, Record]]) -> dict[str, tuple[int, int]]:
    """What the counts are of these records, each with the name of its table."""
    sums: dict[str, list[int]] = {}

    def add(key: str, count: int, size: int) -> None:
        held = sums.setdefault(key, [0, 0])
        held[0] += count
        held[1] += size

    for table, record in records:
        if table == "leases":
            continue
        payer = record.facet if table == "notes" else owner_key(record.owner)
        blob = record.body["bytes"] if table == "files" else 0
        add(f"owner:{payer}", table != "notes", size_of(record.body) + blob)
        if table == "items":
            add(f"parts:items/{record.parent}", 1, 0)
    return {key: (count, size) for key, (count, size) in sums.items()}


def test_whatever_is_done_the_counts_are_those_of_what_is_there(make: Make) -> None:
    chance = random.Random(14)  # noqa: S311 - a fixed choice

    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        there: dict[str, tuple[str, Record]] = {}
        for number in range(250):
            wholes = [identity for identity, (table, _) in there.items() if table == "wholes"]
            table = chance.choice([*TABLES])
            owner, body = chance.choice(OWNERS), {"text": "ü" * chance.randrange(9_000), "bytes": chance.randrange(99)}
            if chance.random() < 0.3 and there:
                identity = chance.choice([*there])
                table, record = there.pop(identity)
                await database.write(tables[table].removing(identity, otherwise=Overtaken()))
                for part in [name for name, (_, each) in there.items() if each.parent == identity]:
                    del there[part]
            elif chance.random() < 0.2 and there:
                identity = chance.choice([*there])
                table, record = there[identity]
                await database.write(tables[table].changing(record, body, record.facet, None))
                found = await tables[table].find(identity)
                assert found is not None
                there[identity] = (table, found.record)
            elif TABLES[table][0] is None or wholes:
                parent = chance.choice(wholes) if TABLES[table][0] else None
                facet = owner_key(chance.choice(OWNERS)) if table == "notes" else "x"
                record = Draft(f"r{number}", body, parent, facet).owned_by(None if table == "notes" else owner)
                await database.write(tables[table].inserting(record))
                there[record.id] = (table, record)
        assert len(there) > 20
        assert await counted(database) == expected(there.values())
        await database.write(*(tables[table].removing(name) for name, (table, _) in there.items()))
        assert await counted(database) == {}

    with_tables(make, work)


def test_what_an_older_version_kept_is_counted_once_the_tables_are_up_to_date(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = migrations

    async def work() -> None:
        async with opened(make) as database:
            monkeypatch.setattr(
                migrate, "migrations", lambda kind, _series: [one for one in real(kind) if one.number < 3]
            )
            tables = await set_up(database)
            kept = [("wholes", Draft("w1", {"a": 1}).owned_by(ANN)), ("wholes", Draft("w2", {}).owned_by(None))]
            kept += [("items", Draft(f"i{n}", {"n": n}, "w1").owned_by(OWNERS[n % 3])) for n in range(9)]
            kept += [("files", Draft("f", {"bytes": 1000}).owned_by(BEN)), ("leases", Draft("l", {}).owned_by(None))]
            older = [(w, Draft(f"{w}/1", {"long": "text"}, w).owned_by(None)) for w in ("w1", "w2")]
            for table, record in kept:
                await database.write(tables[table].inserting(record))
            await database.write(*(tables["notes"].inserting(record) for _, record in older))
            monkeypatch.setattr(migrate, "migrations", real)
            await set_up(database)
            payers = {"w1": ANN, "w2": None}
            notes = [Draft(r.id, r.body, w, owner_key(payers[w])).owned_by(None) for w, r in older]
            assert await counted(database) == expected([*kept, *(("notes", note) for note in notes)])
            await database.write(tables["wholes"].removing("w1"))
            assert await kept_by(database, ANN) == Stored()

    asyncio.run(work())


def test_the_payer_of_a_part_never_changes(make: Make) -> None:
    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        whole = Draft("w", {}).owned_by(ANN)
        adding = RecordParts(tables["notes"]).adding("w", 1, {"text": "x"}, ANN)
        await database.write(tables["wholes"].inserting(whole), adding)
        with pytest.raises(Exception, match="the payer of a part never changes"):
            await database.script("UPDATE notes SET facet = '3:xyz';")
        assert await kept_by(database, ANN) == Stored(1, len('{}{"text":"x"}'))

    with_tables(make, work)


async def attempt(database: Database, table: RecordTable, identity: str, limit: StorageLimit = TEN) -> bool:
    record = Draft(identity, {}).owned_by(ANN)
    try:
        await database.write(table.inserting(record), staying_within(limit, ANN))
    except OverLimit:
        return False
    return True


def test_of_fifty_at_once_ten_fit_into_ten(make: Make) -> None:
    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        async with opened(make) as other:
            servers = [(database, tables["wholes"]), (other, RecordTable(other, "files"))]
            made = await asyncio.gather(*(attempt(*servers[n % 2], f"r{n}") for n in range(50)))
            assert sum(made) == 10
            assert (await kept_by(database, ANN)).records == 10

    with_tables(make, work)


def test_bytes_fit_to_the_byte(make: Make) -> None:
    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        body = {"bytes": 70}
        size = 70 + size_of(body)
        limit = StorageLimit(None, 2 * size, "", "")

        async def add(identity: str) -> bool:
            record = Draft(identity, body).owned_by(ANN)
            try:
                await database.write(tables["files"].inserting(record), staying_within(limit, ANN))
            except OverLimit:
                return False
            return True

        assert sum(await asyncio.gather(*map(add, "abcd"))) == 2
        assert await kept_by(database, ANN) == Stored(2, 2 * size)

    with_tables(make, work)


def test_of_many_additions_at_once_as_many_as_may_are_made(make: Make) -> None:
    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        await database.write(tables["wholes"].inserting(Draft("w", {}).owned_by(ANN)))

        async def add(number: int) -> bool:
            items = [Draft(f"i{number}-{n}", {}, "w").owned_by(OWNERS[number % 3]) for n in range(3)]
            try:
                await database.write(*map(tables["items"].inserting, items), having_at_most(10, "items", "w"))
            except TooManyParts as fault:
                assert fault.most == 10
                return False
            return True

        assert sum(await asyncio.gather(*map(add, range(20)))) == 3
        assert await database.read("SELECT count(*) FROM items") == [(9,)]

    with_tables(make, work)


PROCESSES = 3


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_several_processes_that_make_and_remove_at_once_leave_no_drift(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        _race(kind, str(tmp_path / "records.db"))
        return
    with empty_schema(request.getfixturevalue("postgres_url")) as url:
        _race(kind, url)


def _race(kind: str, where: str) -> None:
    async def before() -> None:
        async with opened(lambda: _database(kind, where)) as database:
            await set_up(database)

    asyncio.run(before())
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=make_and_remove, args=(kind, where, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * PROCESSES

    async def after() -> None:
        async with opened(lambda: _database(kind, where)) as database:
            [(there,)] = await database.read("SELECT count(*) FROM wholes")
            assert (await kept_by(database, ANN)).records == there <= 10

    asyncio.run(after())


def make_and_remove(kind: str, where: str, number: int) -> None:
    """What each of the processes does: 50 creates at once, and after each one that is made, sometimes its removal."""
    chance = random.Random(number)  # noqa: S311 - as above

    async def one(database: Database, table: RecordTable, identity: str) -> None:
        if await attempt(database, table, identity) and chance.random() < 0.7:
            await database.write(table.removing(identity, otherwise=Overtaken()))
        kept = await kept_by(database, ANN)
        assert 0 <= kept.records <= 10

    async def work() -> None:
        async with opened(lambda: _database(kind, where)) as database:
            table = RecordTable(database, "wholes")
            await asyncio.gather(*(one(database, table, f"p{number}-{n}") for n in range(50)))

    asyncio.run(work())


def _database(kind: str, where: str) -> Any:
    return SqliteDatabase(Path(where)) if kind == "sqlite" else PostgresDatabase(where)


def test_a_transaction_that_fails_counts_nothing(make: Make) -> None:
    async def work(database: Database, tables: dict[str, RecordTable]) -> None:
        removing = tables["files"].removing("not there", otherwise=Overtaken())
        with suppress(Overtaken):
            await database.write(tables["wholes"].inserting(Draft("w", {}).owned_by(ANN)), removing)
        assert await counted(database) == {}

    with_tables(make, work)
