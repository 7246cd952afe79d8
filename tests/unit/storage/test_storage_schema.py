"""Migrations: each is applied once, by one of many, and never to what another version has made."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.storage.database import migrate
from server.storage.database.database import AlreadyThere, Database, DatabaseUnavailable, Overtaken, ParentGone
from server.storage.database.migrate import Migration, SchemaMismatch, bring_up_to_date, migrations
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import Make, empty_schema, opened
from tests.support.patience import PATIENCE

LEDGER = "SELECT subject, number FROM ostiary_migrations ORDER BY subject, number"
SECOND = "ALTER TABLE \"{table}\" ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';"

NEXT = migrations("sqlite")[-1].number + 1


def ledger(database: Database, *tables: str) -> list[tuple[str, int]]:
    """What the ledger says of tables that are up to date."""
    return [(table, each.number) for table in sorted(tables) for each in migrations(database.kind)]


def with_database(make: Make, work: Callable[[Database], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await work(database)

    asyncio.run(worked())


async def add(database: Database, table: str, identity: str, parent: str | None = None) -> None:
    await database.write(RecordTable(database, table).inserting(Draft(identity, {}, parent).owned_by(None)))


def test_a_fresh_table_holds_records_and_a_second_start_keeps_them(make: Make) -> None:
    async def first(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "things", "a")
        assert await database.read(LEDGER) == ledger(database, "things")

    async def second(database: Database) -> None:
        await bring_up_to_date(database, "things")
        assert await RecordTable(database, "things").find("a") is not None
        assert await database.read(LEDGER) == ledger(database, "things")

    with_database(make, first)
    with_database(make, second)


def test_records_of_a_part_belong_to_one_that_there_is_and_go_with_it(make: Make) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "wholes")
        await bring_up_to_date(database, "parts", "wholes")
        await add(database, "wholes", "w")
        await add(database, "parts", "p", "w")
        with pytest.raises(ParentGone):
            await add(database, "parts", "q", "nothing")
        with pytest.raises(AlreadyThere):
            await add(database, "parts", "p", "w")
        await database.write(RecordTable(database, "wholes").removing("w", otherwise=Overtaken()))
        assert await RecordTable(database, "parts").find("p") is None
        with pytest.raises(ParentGone):
            await add(database, "parts", "p", "w")

    with_database(make, work)


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", "a b", 'a"b', "a'b", "a;DROP TABLE x", "ä", "a" * 41, "a.b", "a\n", "{references}"]
)
def test_what_is_no_name_becomes_no_part_of_a_statement(make: Make, name: str) -> None:
    async def work(database: Database) -> None:
        for table, parent in ((name, None), ("things", name)):
            if table and parent != "":
                with pytest.raises(ValueError, match="a table's name is"):
                    await bring_up_to_date(database, table, parent)
        with pytest.raises(ValueError, match="a table's name is"):
            RecordTable(database, name)

    with_database(make, work)


@pytest.mark.parametrize("name", ["select", "Order", "a" * 40, "_", "user", "TABLE"])
def test_every_name_is_just_a_name(make: Make, name: str) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, name)
        await bring_up_to_date(database, "parts", name)
        await add(database, name, "a")
        await add(database, "parts", "b", "a")
        assert await RecordTable(database, name).find("a") is not None

    with_database(make, work)


def test_the_next_migration_is_applied_to_what_is_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "things", "a")
        known = migrations(database.kind)
        monkeypatch.setattr(migrate, "migrations", lambda kind, _series: [*known, Migration(NEXT, "colour", SECOND)])
        await bring_up_to_date(database, "things")
        await bring_up_to_date(database, "others")
        assert await database.read("SELECT id, colour FROM things") == [("a", "red")]
        assert await database.read(LEDGER) == sorted(
            [*ledger(database, "others", "things"), ("others", NEXT), ("things", NEXT)]
        )

    with_database(make, work)


def test_a_migration_that_fails_leaves_nothing_of_itself(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        known = migrations(database.kind)
        with monkeypatch.context() as broken:
            bad = Migration(NEXT, "colour", SECOND + "\nSELECT * FROM nothing_of_that_name;")
            broken.setattr(migrate, "migrations", lambda kind, _series: [*known, bad])
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable):
                    await bring_up_to_date(database, "things")
        assert await database.read(LEDGER) == ledger(database, "things")
        await add(database, "things", "the database can be written all the same")
        monkeypatch.setattr(migrate, "migrations", lambda kind, _series: [*known, Migration(NEXT, "colour", SECOND)])
        await bring_up_to_date(database, "things")
        assert await database.read("SELECT colour FROM things") == [("red",)]

    with_database(make, work)


def test_a_table_of_a_newer_version_is_left_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        known = migrations(database.kind)
        with monkeypatch.context() as newer:
            newer.setattr(migrate, "migrations", lambda kind, _series: [*known, Migration(NEXT, "colour", SECOND)])
            await bring_up_to_date(database, "things")
        with pytest.raises(SchemaMismatch, match="`things` was made by a newer version; use that, or another"):
            await bring_up_to_date(database, "things")

    with_database(make, work)


def test_a_migration_that_was_altered_is_noticed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        first, *later = migrations(database.kind)
        altered = Migration(first.number, first.name, first.template + "\n")
        monkeypatch.setattr(migrate, "migrations", lambda kind, _series: [altered, *later])
        with pytest.raises(SchemaMismatch, match="another version \\(migration 1 is not the known one\\)"):
            await bring_up_to_date(database, "things")

    with_database(make, work)


def test_both_kinds_of_database_have_the_same_migrations() -> None:
    def known(kind: str) -> list[tuple[int, str]]:
        return [(migration.number, migration.name) for migration in migrations(kind)]

    assert known("sqlite") == known("postgresql") != []
    assert [number for number, _ in known("sqlite")] == [*range(1, len(known("sqlite")) + 1)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_together_make_each_table_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        _start_together(kind, str(tmp_path / "records.db"))
        return
    with empty_schema(request.getfixturevalue("postgres_url")) as url:
        _start_together(kind, url)


def _start_together(kind: str, where: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, count = context.Barrier(4), 4
    processes = [context.Process(target=start, args=(kind, where, barrier)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count

    async def work(database: Database) -> None:
        assert await database.read(LEDGER) == ledger(database, "parts", "wholes")

    with_database(lambda: _database(kind, where), work)


def start(kind: str, where: str, barrier: object) -> None:
    """What each of the processes does."""
    barrier.wait(PATIENCE)  # type: ignore[attr-defined]

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "wholes")
        await bring_up_to_date(database, "parts", "wholes")

    with_database(lambda: _database(kind, where), work)


def _database(kind: str, where: str) -> Database:
    return SqliteDatabase(Path(where)) if kind == "sqlite" else PostgresDatabase(where)


def test_a_migration_that_databases_have_never_changes_not_even_its_comments() -> None:
    """A start refuses a database whose ledger has another checksum: for a change, write one more migration."""
    known = {
        "sqlite": [
            "2da63924edd7bbfec8653fdb6165f201bdf0c82f3ad1aaa4a401717b5fa91e6e",
            "0b49346a21f28006a1be4a8325be908402c594b512d24e44893350c8134a2d95",
        ],
        "postgresql": [
            "3df102846b420b847be27850564665705001f8dd9c938d32ab23ac1ea822eb0f",
            "70b7ee733f68b3dc497b1276925199a1c6b733bdcdbf51c9ecba06abd092db47",
        ],
    }
    for kind, checksums in known.items():
        assert [migration.checksum for migration in migrations(kind)][: len(checksums)] == checksums
