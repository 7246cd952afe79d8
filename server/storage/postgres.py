"""Records in PostgreSQL: for any number of servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

import asyncpg

from server.storage.database import AlreadyThere, DatabaseUnavailable, ParentGone, Row, Value
from server.storage.record_filter import POSTGRESQL, Dialect

_CONNECTIONS: Final = 16
_SECONDS: Final = 10.0
_SCRIPTS: Final = "SELECT pg_advisory_xact_lock(7289140255512)"
"""Servers that start together change the schema one after the other."""

_OURS: Final = (asyncpg.CheckViolationError, asyncpg.RaiseError, asyncpg.DataError)
"""What a check, a trigger or a value raises: a fault of this server, which trying again won't mend."""

_LOST: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_PARAMETER: Final = re.compile(r"\?([1-9][0-9]*)")


class PostgresDatabase:
    """The database at `url` (`postgresql://…`, which may hold credentials and is never shown)."""

    kind: Final = "postgresql"
    dialect: Final[Dialect] = POSTGRESQL

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def start(self) -> None:
        """Connect; raises DatabaseUnavailable."""
        with _reported():
            self._pool = await asyncpg.create_pool(
                self._url, min_size=1, max_size=_CONNECTIONS, timeout=_SECONDS, command_timeout=_SECONDS
            )

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.close()

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """The rows of a statement that changes nothing; raises DatabaseUnavailable."""
        async with self._connected() as connection:
            return await connection.run(statement, *values)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_Connection]:
        """A transaction on a connection of its own."""
        async with self._connected() as connection:
            await connection.begin()
            try:
                yield connection
            except BaseException:
                await connection.roll_back()
                raise
            await connection.commit()

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        async with self.writing() as connection:
            await connection.script(f"{_SCRIPTS};\n{statements}")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Connection]:
        with _reported():
            connection = await self._opened.acquire(timeout=_SECONDS)
        try:
            yield _Connection(connection)
        finally:
            with suppress(*_LOST):
                await self._opened.release(connection, timeout=_SECONDS)

    @property
    def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            raise RuntimeError("a database is used before it is started")
        return self._pool


class _Connection:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction = connection.transaction()

    async def begin(self) -> None:
        with self._working():
            await self._transaction.start()

    async def commit(self) -> None:
        with self._working():
            await self._transaction.commit()

    async def roll_back(self) -> None:
        # A lost connection has rolled back already.
        with suppress(DatabaseUnavailable), self._working():
            await self._transaction.rollback()

    async def run(self, statement: str, *values: Value) -> list[Row]:
        with self._working():
            return [tuple(row) for row in await self._connection.fetch(spelled(statement), *values)]

    async def script(self, statements: str) -> None:
        with self._working():
            await self._connection.execute(statements)

    @contextmanager
    def _working(self) -> Iterator[None]:
        with _reported():
            try:
                yield
            except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
                # What is left of the connection would let whoever takes it next wait for nothing.
                self._connection.terminate()
                raise


@lru_cache(maxsize=1024)
def spelled(statement: str) -> str:
    """The statement with PostgreSQL's parameters."""
    return _PARAMETER.sub(r"$\1", statement)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise AlreadyThere from None
    except asyncpg.ForeignKeyViolationError:
        raise ParentGone from None
    except _OURS:
        raise
    except _LOST as error:
        # The texts of such errors may hold addresses and values; what kind it is says enough.
        raise DatabaseUnavailable(f"the records in PostgreSQL can't be used ({type(error).__name__})") from None
