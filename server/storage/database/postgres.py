"""Records in PostgreSQL: for any number of servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

import asyncpg

from server.fairness.shares import FairShares
from server.storage.database.database import (
    AlreadyThere,
    DatabaseUnavailable,
    InDoubt,
    Overlong,
    ParentGone,
    Row,
    Step,
    Value,
)
from server.storage.database.dialect import POSTGRESQL, Dialect
from server.storage.database.limits import LIST_SECONDS, POSTGRES_CALLS, POSTGRES_LISTS

_SECONDS: Final = 10.0

_TRIES: Final = 3
"""Attempts to run a transaction that PostgreSQL ends because of a deadlock; each takes a second to be noticed."""

_SCRIPT_SECONDS: Final = 600.0
"""Seconds for a change of the schema, which may read a whole table, or wait for another server that does."""

_SCRIPTS: Final = "SELECT pg_advisory_xact_lock(7289140255512)"
"""Servers that start together change the schema one after the other."""

_OURS: Final = (asyncpg.CheckViolationError, asyncpg.RaiseError, asyncpg.DataError)
"""The errors of checks, triggers and values: faults of this server, which a retry doesn't mend."""

_LOST: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_UNANSWERED: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Those of the lost in which PostgreSQL itself says nothing."""

_PLANNING: Final = """
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
"""
"""Statements are made for one plan, by the index that has their order; made once, and not for each execution again.

Left to itself, PostgreSQL plans anew for each execution where few owners have most records, and where it takes an index
for no better than the whole table, keeps that plan while the table grows.
"""

_PARAMETER: Final = re.compile(r"\?([1-9][0-9]*)")


class _Deadlock(DatabaseUnavailable):
    """Two transactions waited for each other, and this one was ended: nothing was changed."""


class PostgresDatabase:
    """The database at `url` (`postgresql://…`, which may hold credentials and is never shown)."""

    kind: Final = "postgresql"
    dialect: Final[Dialect] = POSTGRESQL

    def __init__(self, url: str) -> None:
        self._url = url
        self._calls = FairShares(POSTGRES_CALLS)
        self._lists = FairShares(POSTGRES_LISTS)
        self._pools: dict[FairShares, asyncpg.Pool[asyncpg.Record]] = {}

    async def start(self) -> None:
        """Connect; raises DatabaseUnavailable."""
        with _reported():
            for shares, set_up in ((self._calls, _set_up), (self._lists, _set_up_for_lists)):
                # A pool with a minimum reconnects on its own, and logs the address where it can't.
                self._pools[shares] = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=shares.share.capacity,
                    timeout=_SECONDS,
                    command_timeout=_SECONDS,
                    init=set_up,
                    reset=_as_it_is,
                )
        await self.read("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        try:
            for pool in pools.values():
                await pool.close()
        except BaseException:
            for pool in pools.values():
                pool.terminate()
            raise

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a short statement that changes nothing; raise NoRoom and DatabaseUnavailable."""
        async with self._connected(self._calls) as connection:
            return await connection.run(statement, *values)

    async def scan(self, statement: str, *values: Value) -> list[Row]:
        """Return the rows of a statement of a list, on a connection for lists."""
        async with self._connected(self._lists) as connection:
            return await connection.list(statement, *values)

    async def write(self, *steps: Step) -> None:
        """Run a transaction on a connection of its own, again where it was ended because of a deadlock."""
        for _ in range(_TRIES - 1):
            with suppress(_Deadlock):
                await self._write(*steps)
                return
        await self._write(*steps)

    async def _write(self, *steps: Step) -> None:
        async with self._connected(self._calls) as connection:
            if len(steps) == 1:
                # A single statement is atomic, in one round trip in place of three.
                await connection.take(steps[0], alone=True)
                return
            async with connection.transaction():
                for step in steps:
                    await connection.take(step)

    async def script(self, statements: str) -> None:
        """Several statements without parameters, in a transaction of their own; raises DatabaseUnavailable."""
        async with self._connected(self._calls) as connection, connection.transaction():
            await connection.script(f"{_SCRIPTS};\n{statements}")

    @asynccontextmanager
    async def _connected(self, shares: FairShares) -> AsyncIterator[_Connection]:
        """Hold a connection of that kind, when it is the caller's turn."""
        pool = self._pools.get(shares)
        if pool is None:
            raise RuntimeError("a database is used before it is started")
        async with shares.turn():
            with _reported():
                connection = await pool.acquire(timeout=_SECONDS)
            try:
                yield _Connection(connection)
            finally:
                with suppress(*_LOST):
                    await pool.release(connection, timeout=_SECONDS)


class _Connection:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        transaction = self._connection.transaction()
        with self._working():
            await transaction.start()
        try:
            yield
        except BaseException:
            # A lost connection has rolled back already.
            with suppress(DatabaseUnavailable), self._working():
                await transaction.rollback()
            raise
        with self._working(final=True):
            await transaction.commit()

    async def take(self, step: Step, *, alone: bool = False) -> None:
        if not await self.run(step.statement, *step.values, final=alone) and step.otherwise is not None:
            raise step.otherwise

    async def run(self, statement: str, *values: Value, final: bool = False) -> list[Row]:
        with self._working(final=final):
            return [tuple(row) for row in await self._connection.fetch(spelled(statement), *values)]

    async def list(self, statement: str, *values: Value) -> list[Row]:
        with self._working():
            try:
                rows = await self._connection.fetch(spelled(statement), *values)
            except asyncpg.QueryCanceledError:
                raise Overlong from None
        return [tuple(row) for row in rows]

    async def script(self, statements: str) -> None:
        with self._working():
            await self._connection.execute(statements, timeout=_SCRIPT_SECONDS)

    @contextmanager
    def _working(self, *, final: bool = False) -> Iterator[None]:
        with _reported(final=final):
            try:
                yield
            except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
                # The next user of this connection would wait for an answer that never comes.
                self._connection.terminate()
                raise


async def _set_up(connection: Any) -> None:
    await connection.execute(_PLANNING)


async def _set_up_for_lists(connection: Any) -> None:
    await connection.execute(f"{_PLANNING}SET statement_timeout = {round(1000 * LIST_SECONDS)};")


async def _as_it_is(_connection: Any) -> None:
    """Leave the connection unchanged: its state ends with each transaction, so that no reset costs a round trip."""


@lru_cache(maxsize=1024)
def spelled(statement: str) -> str:
    """Return the statement with PostgreSQL's parameters."""
    return _PARAMETER.sub(r"$\1", statement)


@contextmanager
def _reported(*, final: bool = False) -> Iterator[None]:
    """Translate asyncpg's exceptions to those of the interface; `final` says that the block commits a change."""
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise AlreadyThere from None
    except asyncpg.ForeignKeyViolationError:
        raise ParentGone from None
    except _OURS:
        raise
    except asyncpg.DeadlockDetectedError:
        raise _Deadlock("the records in PostgreSQL can't be changed: transactions wait for each other") from None
    except _LOST as error:
        # The messages of such errors may hold addresses and values; their kind is enough.
        kind = InDoubt if final and isinstance(error, _UNANSWERED) else DatabaseUnavailable
        raise kind(f"the records in PostgreSQL can't be used ({type(error).__name__})") from None
