"""Records in an SQLite file: for one server, or several processes on one machine."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import aiosqlite

from server.storage.database import AlreadyThere, DatabaseUnavailable, ParentGone, Row, Value
from server.storage.record_filter import SQLITE, Dialect

_BUSY_SECONDS: Final = 5.0
"""How long to wait for another process that writes."""

_PAUSE_SECONDS: Final = 0.02
_READERS: Final = 2


class SqliteDatabase:
    """The file at `path`: one connection writes, others read beside it (write-ahead log)."""

    kind: Final = "sqlite"
    dialect: Final[Dialect] = SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: aiosqlite.Connection | None = None
        self._readers: list[aiosqlite.Connection] = []
        self._next: Iterator[aiosqlite.Connection] = iter(())
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Open the file, which is made for its owner alone if there is none; raises DatabaseUnavailable."""
        try:
            with self.reported():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
                self._check_access()
                self._writer = await self._connected()
                # A power failure may take the last second with it, and nothing else does; a killed process loses
                # nothing.
                await self._writer.execute_fetchall("PRAGMA synchronous = NORMAL")
                for _ in range(_READERS):
                    self._readers.append(await self._connected())
                    await self._readers[-1].execute_fetchall("PRAGMA query_only = ON")
        except BaseException:
            await self.close()
            raise
        self._next = itertools.cycle(self._readers)

    async def close(self) -> None:
        """Close the file."""
        connections, self._readers, self._writer = [*self._readers, self._writer], [], None
        for connection in connections:
            if connection is not None:
                await connection.close()

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """The rows of a statement that changes nothing; raises DatabaseUnavailable."""
        with self.reported():
            return _rows(await next(self._next).execute_fetchall(statement, values))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_Transaction]:
        """A transaction; those of one process wait for each other."""
        async with self._turn, self._undone_on_failure() as connection:
            with self.reported():
                await connection.execute_fetchall("BEGIN IMMEDIATE")
            yield _Transaction(self, connection)
            with self.reported():
                await connection.execute_fetchall("COMMIT")

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        async with self._turn, self._undone_on_failure() as connection:
            with self.reported():
                await connection.executescript(f"BEGIN IMMEDIATE;\n{statements}\nCOMMIT;")

    @asynccontextmanager
    async def _undone_on_failure(self) -> AsyncIterator[aiosqlite.Connection]:
        connection = self._opened
        try:
            yield connection
        except BaseException:
            # What was begun may be waiting for its turn still, after a cancellation: the end of it comes behind that.
            # Where nothing was begun, or a full disk has ended it already, there is nothing to end.
            with suppress(sqlite3.Error, ValueError):
                await asyncio.shield(connection.execute_fetchall("ROLLBACK"))
            raise

    def _check_access(self) -> None:
        if not (self._path.is_file() and os.access(self._path, os.R_OK | os.W_OK)):
            raise DatabaseUnavailable(f"`{self._path}` is no file that can be read and written")

    async def _connected(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None, timeout=_BUSY_SECONDS)
        try:
            await _begin_log(connection)
            await connection.execute_fetchall("PRAGMA foreign_keys = ON")
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def _opened(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise RuntimeError("a database is used before it is started")
        return self._writer

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Turns what SQLite raises into what a database may raise."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorname in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
                raise AlreadyThere from None
            if error.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY":
                raise ParentGone from None
            # A check or a trigger: a fault of ours, which trying again won't mend.
            raise
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DatabaseUnavailable(f"the records in `{self._path}` can't be used: {reason}") from None


async def _begin_log(connection: aiosqlite.Connection) -> None:
    """Have changes written to a log first, beside which others can read.

    Of several processes that start together on one file, SQLite refuses all but one, and lets none of them wait.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


class _Transaction:
    def __init__(self, database: SqliteDatabase, connection: aiosqlite.Connection) -> None:
        self._database = database
        self._connection = connection

    async def run(self, statement: str, *values: Value) -> list[Row]:
        with self._database.reported():
            return _rows(await self._connection.execute_fetchall(statement, values))


def _rows(found: Iterable[sqlite3.Row]) -> list[Row]:
    return [tuple(row) for row in found]
