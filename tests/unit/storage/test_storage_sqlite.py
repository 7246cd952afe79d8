"""An SQLite file that can't be used: one clear error, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from server.storage.database import sqlite, sqlite_log
from server.storage.database.database import Database, DatabaseUnavailable
from server.storage.database.migrate import bring_up_to_date
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.cancelled_steps import When, cancelled_at
from tests.support.databases import opened
from tests.support.patience import PATIENCE


def with_file(path: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(lambda: SqliteDatabase(path)) as database:
            await work(database)

    asyncio.run(worked())


async def add(database: Database, identity: str, body: str = "") -> None:
    await database.write(RecordTable(database, "things").inserting(Draft(identity, {"text": body}).owned_by(None)))


def test_the_file_and_its_directory_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "records.db"

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        for suffix in ("", "-wal", "-shm"):
            assert stat.S_IMODE(path.with_name(path.name + suffix).stat().st_mode) == 0o600

    with_file(path, work)


def test_a_file_that_is_no_database_stops_the_start_and_leaves_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.write_bytes(b"this is no database, and was never meant to be one" * 100)
    before = threading.active_count()
    with pytest.raises(DatabaseUnavailable, match=r"records\.db` can't be used: file is not a database"):
        with_file(path, _nothing)
    deadline = time.monotonic() + PATIENCE
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("place", ["", "file/records.db"])
def test_a_place_where_no_file_can_be_stops_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatabaseUnavailable, match=r"can't be used: (File exists|Not a directory)|is no file that can"):
        with_file(tmp_path / place, _nothing)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_directory_that_may_not_be_written_stops_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DatabaseUnavailable, match="Permission denied"):
        with_file(tmp_path / "records.db", _nothing)


def test_a_database_that_turns_read_only_can_be_read(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a")
        writer = database._opened  # type: ignore[attr-defined]  # for root, nothing else is read-only
        await writer.execute_fetchall("PRAGMA query_only = ON")
        with pytest.raises(DatabaseUnavailable, match="attempt to write a readonly database"):
            await add(database, "b")
        assert await database.read("SELECT id FROM things") == [("a",)]
        await writer.execute_fetchall("PRAGMA query_only = OFF")
        await add(database, "b")

    with_file(tmp_path / "records.db", work)


def test_a_database_that_somebody_else_keeps_locked_can_be_read_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.1)
    path = tmp_path / "records.db"

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="database is locked"):
            await add(database, "b")
        assert await database.read("SELECT id FROM things") == [("a",)]
        other.execute("ROLLBACK")
        other.close()
        await add(database, "b")

    with_file(path, work)


def test_a_start_waits_for_another_process_that_changes_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    path = tmp_path / "records.db"

    async def work(database: Database) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        starting = asyncio.create_task(bring_up_to_date(database, "things"))
        await asyncio.sleep(0.3)
        assert not starting.done()
        other.execute("ROLLBACK")
        other.close()
        await starting
        await add(database, "a")

    with_file(path, work)


def test_a_full_disk_is_one_error_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "records.db"

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        await add(database, "a")
        writer = database._opened  # type: ignore[attr-defined]  # no other way to a full disk without a disk
        [(pages,)] = await writer.execute_fetchall("PRAGMA page_count")
        await writer.execute_fetchall(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseUnavailable, match="database or disk is full"):
            await add(database, "b", "x" * 1_000_000)
        assert await database.read("SELECT id FROM things") == [("a",)]
        await writer.execute_fetchall("PRAGMA max_page_count = 1000000")
        await add(database, "b", "x" * 1_000_000)

    with_file(path, work)


def test_a_file_that_is_damaged_while_it_is_open_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "records.db"

    async def filled(database: Database) -> None:
        await bring_up_to_date(database, "things")
        for number in range(50):
            await add(database, f"a{number}", "x" * 2_000)

    async def damaged(database: Database) -> None:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        with pytest.raises(
            DatabaseUnavailable, match=r"can't be used: (database disk image is malformed|no such table)"
        ):
            await database.read("SELECT * FROM things")
        with pytest.raises(DatabaseUnavailable):
            await add(database, "b")

    with_file(path, filled)
    with_file(path, damaged)


def test_what_reads_may_not_write(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        with pytest.raises(DatabaseUnavailable, match="attempt to write a readonly database"):
            await database.read("DELETE FROM things")

    with_file(tmp_path / "records.db", work)


async def _nothing(_database: Database) -> None:
    pytest.fail("it can't be opened")


@pytest.mark.parametrize("limit", ["STEPS", "STEP_BYTES"])
def test_the_log_is_copied_beside_the_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """No writer copies it, which would wait for the disk, and with it every caller that writes."""
    monkeypatch.setattr(sqlite_log, "STEP_BYTES", 10**9)
    path = tmp_path / "records.db"

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        size = path.stat().st_size
        for number in range(100):  # 5 MB; SQLite's writers copy every 4 MB
            await add(database, f"n{number}", "x" * 50_000)
        assert path.stat().st_size == size
        monkeypatch.setattr(sqlite_log, limit, 20)
        await add(database, "last")
        deadline = time.monotonic() + PATIENCE
        while path.stat().st_size < 100 * 50_000:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)

    with_file(path, work)


def test_a_log_that_nothing_copies_is_copied_by_the_writer_once_it_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_log, "STEPS", 10**9)
    monkeypatch.setattr(sqlite_log, "STEP_BYTES", 10**9)
    monkeypatch.setattr(sqlite, "MOST_PAGES", 500)
    path = tmp_path / "records.db"

    async def work(database: Database) -> None:
        await bring_up_to_date(database, "things")
        for number in range(60):
            await add(database, f"n{number}", "x" * 50_000)
        assert path.stat().st_size > 500 * 4096
        assert path.with_name(f"{path.name}-wal").stat().st_size < 700 * 4096

    with_file(path, work)


@pytest.mark.parametrize("when", list(When))
def test_a_start_that_is_cancelled_at_any_step_leaves_no_file_open(tmp_path: Path, when: When) -> None:
    async def cancelled(step: int) -> bool:
        database = SqliteDatabase(tmp_path / "records.db")
        if await cancelled_at(step, when, database.start()):
            return True
        await database.close()
        return False

    step = 0
    while asyncio.run(cancelled(step)):
        assert not open_files(tmp_path), step
        step += 1
    # It waits at least once for each of its connections.
    assert step > 8


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(each.readlink()))
    return [name for name in found if name.startswith(str(folder))]
