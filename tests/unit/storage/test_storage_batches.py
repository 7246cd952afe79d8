"""Writes that wait at the same time share a transaction, and nothing else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.background.priority import GIVES_WAY
from server.storage.database.database import AlreadyThere, DatabaseUnavailable, Overtaken, ParentGone, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.database.sqlite import SqliteDatabase
from server.storage.database.sqlite_batches import SqliteBatches, WriteJob
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import opened

TOGETHER = 20
IDS = "SELECT id FROM things ORDER BY id"


def with_things(tmp_path: Path, work: Callable[[SqliteDatabase], Awaitable[None]]) -> list[str]:
    """The statements that the writing connection was given by `work`."""
    statements: list[str] = []

    async def worked() -> None:
        async with opened(lambda: SqliteDatabase(tmp_path / "records.db")) as database:
            assert isinstance(database, SqliteDatabase)
            await bring_up_to_date(database, "wholes")
            await bring_up_to_date(database, "things")
            await bring_up_to_date(database, "parts", "wholes")
            await database._opened.set_trace_callback(statements.append)
            await work(database)

    asyncio.run(worked())
    return statements


def new(database: SqliteDatabase, identity: str, table: str = "things", **members: str) -> Step:
    """Has a record of that id."""
    return RecordTable(database, table).inserting(Draft(identity, members, members.get("parent")).owned_by(None))


def test_writes_that_wait_at_the_same_time_share_a_transaction(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        names = [f"a{number:02}" for number in range(TOGETHER)]
        await asyncio.gather(*(database.write(new(database, name)) for name in names))
        assert await database.read(IDS) == [(name,) for name in names]

    statements = with_things(tmp_path, work)
    assert [statement for statement in statements if statement in ("BEGIN IMMEDIATE", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own")
def test_the_thread_that_writes_gives_way_to_the_event_loop(tmp_path: Path) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    async def work(database: SqliteDatabase) -> None:
        await database._opened.create_function("priority", 0, priority)
        assert [*await database._opened.execute_fetchall("SELECT priority()")] == [(min(19, priority() + GIVES_WAY),)]

    with_things(tmp_path, work)


def test_savepoints_are_made_only_where_a_write_has_failed(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        for number in range(4):
            names = [f"{number}{name}" for name in "abc"]
            # In the second batch two have one id.
            names[1] = names[0] if number == 1 else names[1]
            await asyncio.gather(*(database.write(new(database, name)) for name in names), return_exceptions=True)
        assert len(await database.read(IDS)) == 11

    statements = with_things(tmp_path, work)
    said = [statement for statement in statements if not statement.startswith("INSERT")]
    cautious = ["BEGIN IMMEDIATE", *["SAVEPOINT work", "RELEASE work"] * 3, "COMMIT"]
    failed = [*cautious[:3], "SAVEPOINT work", "ROLLBACK TO work", "RELEASE work", *cautious[5:]]
    assert said == ["BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE", "ROLLBACK", *failed, *cautious * 2]


def test_one_that_fails_takes_nothing_of_the_others_with_it_and_leaves_nothing(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        await database.write(new(database, "there"))
        things = RecordTable(database, "things")
        failures = await asyncio.gather(
            database.write(new(database, "a")),
            database.write(new(database, "half 1"), new(database, "there")),
            database.write(new(database, "b"), new(database, "c")),
            database.write(new(database, "half 2"), things.removing("nowhere", otherwise=Overtaken())),
            database.write(new(database, "half 3"), new(database, "part", "parts", parent="nowhere")),
            database.write(new(database, "half 4"), Step("UPDATE things SET origin = 'config'")),
            database.write(new(database, "half 5"), Step("SELECT 1 FROM nothing")),
            database.write(new(database, "a")),
            database.write(new(database, "d")),
            return_exceptions=True,
        )
        assert [type(failure) for failure in failures] == [
            type(None),
            AlreadyThere,
            type(None),
            Overtaken,
            ParentGone,
            sqlite3.IntegrityError,
            DatabaseUnavailable,
            AlreadyThere,
            type(None),
        ]
        assert await database.read(IDS) == [("a",), ("b",), ("c",), ("d",), ("there",)]

    with_things(tmp_path, work)


def test_where_the_transaction_is_lost_each_that_can_be_written_alone_is(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        writer = database._opened
        [(pages,)] = await writer.execute_fetchall("PRAGMA page_count")
        await writer.execute_fetchall(f"PRAGMA max_page_count = {pages + 4}")
        small, large = {"text": "x"}, {"text": "x" * 1_000_000}
        # A full disk ends the whole transaction, whoever fills it.
        failures = await asyncio.gather(
            database.write(new(database, "a", **small)),
            database.write(new(database, "large", **large)),
            database.write(new(database, "b", **small)),
            return_exceptions=True,
        )
        assert [type(failure) for failure in failures] == [type(None), DatabaseUnavailable, type(None)]
        assert await database.read(IDS) == [("a",), ("b",)]

    with_things(tmp_path, work)


def test_no_success_is_told_before_the_transaction_has_ended(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        writer = database._opened
        # As good as a disk that fails at the very end: what is checked last of all.
        await writer.execute_fetchall("CREATE TABLE last (n REFERENCES wholes (id) DEFERRABLE INITIALLY DEFERRED)")
        failures = await asyncio.gather(
            database.write(new(database, "a")),
            database.write(new(database, "b"), Step("INSERT INTO last VALUES ('nowhere')")),
            database.write(new(database, "c")),
            return_exceptions=True,
        )
        assert [type(failure) for failure in failures] == [type(None), ParentGone, type(None)]
        assert await database.read(IDS) == [("a",), ("c",)]

    with_things(tmp_path, work)


def test_a_file_that_others_keep_locked_is_waited_for_once_by_all(tmp_path: Path) -> None:
    path = tmp_path / "records.db"

    async def wait() -> list[object]:
        batches = SqliteBatches(WriteJob, path, busy_seconds=0.3)
        await batches.connect()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        loop = asyncio.get_running_loop()
        began = loop.time()
        steps = Step("CREATE TABLE things (id)")
        failures = await asyncio.gather(*(batches.do(steps) for _ in range(TOGETHER)), return_exceptions=True)
        assert loop.time() - began < 0.3 * TOGETHER / 2
        other.close()
        await batches.close()
        return [*failures]

    assert {str(failure) for failure in asyncio.run(wait())} == {"database is locked"}


def test_whoever_gives_up_before_the_turn_has_written_nothing(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        names = [f"a{number:02}" for number in range(TOGETHER)]
        tasks = [asyncio.create_task(database.write(new(database, name))) for name in names]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert await database.read(IDS) == [(name,) for name in names[1::2]]

    with_things(tmp_path, work)


def test_more_than_are_done_together_are_done_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        names = [f"{number:04}" for number in range(1_000)]
        ended: list[str] = []

        async def write(name: str) -> None:
            await database.write(new(database, name))
            ended.append(name)

        await asyncio.gather(*map(write, names))
        assert ended == names
        assert await database.read(f"{IDS.removesuffix('id')}rowid") == [(name,) for name in names]

    with_things(tmp_path, work)


def test_a_slow_read_leaves_the_other_connection_to_others(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        await database.write(new(database, "a"))
        gate = threading.Event()
        for connection, _ in database._reading._free:
            await connection.create_function("slowly", 0, lambda: gate.wait(60))
        reading = asyncio.create_task(database.read("SELECT slowly()"))
        # What comes a moment later is not in its batch.
        await asyncio.sleep(0)
        while database._reading._waiting:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        for _ in range(TOGETHER):
            assert await database.read(IDS) == [("a",)]
        assert not reading.done()
        gate.set()
        assert await reading == [(1,)]

    with_things(tmp_path, work)


@pytest.mark.parametrize("reads", [1, TOGETHER])
def test_a_read_that_fails_is_one_failure(tmp_path: Path, reads: int) -> None:
    async def work(database: SqliteDatabase) -> None:
        failing = [database.read("SELECT 1 FROM nothing"), database.read("DELETE FROM things")]
        found = await asyncio.gather(
            *failing, *(database.read("SELECT 1") for _ in range(reads)), return_exceptions=True
        )
        assert [type(each) for each in found[:2]] == [DatabaseUnavailable] * 2
        assert found[2:] == [[(1,)]] * reads

    with_things(tmp_path, work)


def test_what_is_under_way_is_finished_before_the_file_is_closed(tmp_path: Path) -> None:
    async def work(database: SqliteDatabase) -> None:
        tasks = [asyncio.create_task(database.write(new(database, f"{number:03}"))) for number in range(200)]
        await asyncio.sleep(0)
        await database.close()
        assert all(task.done() for task in tasks) or [*await asyncio.gather(*tasks)] == [None] * 200
        await database.start()
        assert await database.read("SELECT count(*) FROM things") == [(200,)]

    with_things(tmp_path, work)
