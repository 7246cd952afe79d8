"""Records in an SQLite file: for one server, or several processes on one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import aiosqlite

from server.background.ends import to_its_end
from server.fairness.shares import FairShares
from server.storage.database.database import (
    AlreadyThere,
    DatabaseUnavailable,
    Overlong,
    ParentGone,
    Row,
    Step,
    Value,
)
from server.storage.database.dialect import SQLITE, Dialect
from server.storage.database.limits import LIST_SECONDS, SQLITE_LISTS, SQLITE_READS, SQLITE_WRITES
from server.storage.database.sqlite_batches import ReadJob, SqliteBatches, WriteJob
from server.storage.database.sqlite_log import MOST_PAGES, LogCopies

_BUSY_SECONDS: Final = 5.0
"""Seconds to wait for another process that writes."""

_SCRIPT_SECONDS: Final = 60.0
"""Seconds to wait for another process that changes the schema, which may read a whole table for that."""

_PAUSE_SECONDS: Final = 0.02
_READERS: Final = 2
_BROKEN_RULES: Final[Mapping[str, Callable[[], Exception]]] = {
    "SQLITE_CONSTRAINT_PRIMARYKEY": AlreadyThere,
    "SQLITE_CONSTRAINT_UNIQUE": AlreadyThere,
    "SQLITE_CONSTRAINT_FOREIGNKEY": ParentGone,
}


class SqliteDatabase:
    """The file at `path`: one connection writes, others read concurrently (write-ahead log)."""

    kind: Final = "sqlite"
    dialect: Final[Dialect] = SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = SqliteBatches(WriteJob, path, _BUSY_SECONDS)
        self._reading = SqliteBatches(ReadJob, path, _BUSY_SECONDS)
        # One by one, so that a list that is cancelled or takes too long can be interrupted.
        self._listing = SqliteBatches(ReadJob, path, _BUSY_SECONDS, most=1)
        self._reads = FairShares(SQLITE_READS)
        self._lists = FairShares(SQLITE_LISTS)
        self._writes = FairShares(SQLITE_WRITES)
        self._log = LogCopies()
        self._writer: aiosqlite.Connection | None = None

    async def start(self) -> None:
        """Open the file, created for its owner only if missing; raise DatabaseUnavailable."""
        try:
            await self._open()
        except BaseException as fault:
            await self.close()
            if isinstance(fault, sqlite3.Error | OSError):
                raise self._told(fault) from None
            raise

    async def close(self) -> None:
        """Close the file."""
        self._writer = None
        await to_its_end(self._close())

    async def _close(self) -> None:
        await self._log.close()
        for batches in (self._listing, self._reading, self._writing):
            await batches.close()

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a short statement that changes nothing; raise NoRoom and DatabaseUnavailable."""
        turn = await self._reads.take()
        try:
            return await self._done(self._reading, Step(statement, values))
        finally:
            turn.end()

    async def scan(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a statement of a list, on a connection for lists."""
        async with self._lists.turn():
            try:
                async with asyncio.timeout(LIST_SECONDS):
                    return await self._done(self._listing, Step(statement, values))
            except TimeoutError:
                raise Overlong from None

    async def write(self, *steps: Step) -> None:
        """Run the steps in a savepoint, in a transaction that concurrent writes may share."""
        turn = await self._writes.take(len(steps))
        try:
            await self._done(self._writing, *steps)
        finally:
            turn.end()
        self._log.wrote(steps)

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        deadline = time.monotonic() + _SCRIPT_SECONDS
        while True:
            try:
                await self._opened.executescript(f"BEGIN IMMEDIATE;\n{statements}\nCOMMIT;")
            except (sqlite3.Error, OSError) as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise self._told(error) from None
            else:
                return

    async def _done(self, batches: SqliteBatches, *steps: Step) -> list[Row]:
        try:
            return await batches.do(*steps)
        except (sqlite3.Error, OSError) as error:
            raise self._told(error) from None

    async def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._check_access()
        self._writer = await _set_up(await self._writing.connect())
        # Only a power failure may lose the last second; a killed process loses nothing.
        await self._writer.execute_fetchall("PRAGMA synchronous = NORMAL")
        await self._writer.execute_fetchall(f"PRAGMA wal_autocheckpoint = {MOST_PAGES}")
        for batches in (self._reading,) * _READERS + (self._listing,) * SQLITE_LISTS.capacity:
            reader = await _set_up(await batches.connect())
            await reader.execute_fetchall("PRAGMA query_only = ON")
        await _set_up(await to_its_end(self._copier()))

    async def _copier(self) -> aiosqlite.Connection:
        """Return the connection that copies the log, which is closed with that."""
        copier = await aiosqlite.connect(self._path, isolation_level=None, timeout=_BUSY_SECONDS)
        self._log.begin(copier)
        return copier

    def _check_access(self) -> None:
        if not (self._path.is_file() and os.access(self._path, os.R_OK | os.W_OK)):
            raise DatabaseUnavailable(f"`{self._path}` is no file that can be read and written")

    @property
    def _opened(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise RuntimeError("a database is used before it is started")
        return self._writer

    def _told(self, error: sqlite3.Error | OSError) -> Exception:
        """Return the interface's exception for one of SQLite's."""
        if isinstance(error, sqlite3.IntegrityError):
            # A failed check or trigger is a fault of the server, which a retry doesn't mend.
            return _BROKEN_RULES.get(error.sqlite_errorname, lambda: error)()
        reason = error.strerror if isinstance(error, OSError) else error
        return DatabaseUnavailable(f"the records in `{self._path}` can't be used: {reason}")


def _is_busy(error: sqlite3.Error | OSError) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


async def _set_up(connection: aiosqlite.Connection) -> aiosqlite.Connection:
    await _begin_log(connection)
    await connection.execute_fetchall("PRAGMA foreign_keys = ON")
    return connection


async def _begin_log(connection: aiosqlite.Connection) -> None:
    """Switch to the write-ahead log, so that others can read during a write.

    Of several processes that start together on one file, SQLite refuses all but one without waiting.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return
