"""Counts in an SQLite file: servers that start together, locks, writes that fail, and the end of the server."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from server.quota.counters import CountersUnavailable
from server.quota.sqlite import SqliteCounters
from tests.support.patience import PATIENCE
from tests.support.quota_counters import new_key, opened, run, units, used


def test_servers_that_start_together_on_a_new_file_all_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        for number in range(60):
            async with opened(*(SqliteCounters(tmp_path / f"{number}.db") for _ in range(12))):
                pass
        assert (tmp_path / "0.db").stat().st_mode & 0o777 == 0o600

    run(scenario())


def test_a_locked_file_fails_those_who_wait_and_serves_those_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.quota import sqlite as module

    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.1)

    async def scenario() -> None:
        counters, key = SqliteCounters(tmp_path / "quotas.db"), new_key()
        async with opened(counters):
            other = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CountersUnavailable, match="locked"):
                await counters.take(units(key, 1))
            other.execute("ROLLBACK")
            other.close()
            assert await counters.take(units(key, 1)) == (True, used(1, 0))

    run(scenario())


def test_a_write_that_fails_leaves_nothing_of_itself_and_no_lock(tmp_path: Path) -> None:
    async def scenario() -> None:
        counters, key = SqliteCounters(tmp_path / "quotas.db"), new_key()
        async with opened(counters):
            other = sqlite3.connect(tmp_path / "quotas.db", timeout=0.5, isolation_level=None)
            (schema,) = other.execute("SELECT sql FROM sqlite_schema WHERE name = 'quota'").fetchone()
            other.execute("DROP TABLE quota")
            with pytest.raises(CountersUnavailable, match="no such table"):
                await counters.take(units(key, 1))
            other.execute(schema)
            other.close()
            assert await counters.take(units(key, 1)) == (True, used(1, 0))

    run(scenario())


def test_a_fault_that_is_not_foreseen_is_told_to_all_who_wait_and_ends_with_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        counters, key = SqliteCounters(tmp_path / "quotas.db"), new_key()
        async with opened(counters):
            async with asyncio.timeout(PATIENCE):
                told = await asyncio.gather(
                    counters.take(units(key, 1)), counters.take(units(new_key(), 2**63)), return_exceptions=True
                )
            assert [type(each) for each in told] == [OverflowError, OverflowError]
            assert await counters.take(units(key, 1)) == (True, used(1, 0))

    run(scenario())


def test_what_is_being_taken_when_the_file_is_closed_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        key, counters = new_key(), SqliteCounters(tmp_path / "quotas.db")
        async with opened(counters):
            taking = asyncio.gather(*(counters.take(units(key, 5)) for _ in range(3)))
            await asyncio.sleep(0)
        assert await taking == [(True, used(number, 0)) for number in (1, 2, 3)]
        async with opened(again := SqliteCounters(tmp_path / "quotas.db")):
            assert await again.take(units(key, 5)) == (True, used(4, 0))

    run(scenario())


def test_a_file_that_stays_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.quota import sqlite as module

    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.1)

    async def scenario() -> None:
        counters = SqliteCounters(tmp_path / "quotas.db")
        other = sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        starting = asyncio.create_task(counters.start())
        try:
            await asyncio.wait([starting], timeout=5)
            assert starting.done()
        finally:
            other.close()
        with pytest.raises(CountersUnavailable, match="locked"):
            await starting
        await counters.close()

    run(scenario())
