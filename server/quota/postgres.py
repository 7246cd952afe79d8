"""Counting in PostgreSQL: for any number of servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from server.quota.counters import FORGET_PAUSE, LOOKED_AT, Charge, CountersUnavailable, Usage

_CONNECTIONS: Final = 8
_SECONDS: Final = 5.0

# The last is what asyncpg raises where the server ends a connection at the moment in which it is used.
_FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""Errors of a connection that has broken, or that the server ends during its use."""

# The lock keeps servers that start together from making the table at the same time.
_SCHEMA: Final = """
SELECT pg_advisory_xact_lock(7289140255511);
CREATE TABLE IF NOT EXISTS ostiary_quota (
    key text PRIMARY KEY,
    "window" bigint NOT NULL,
    requests bigint NOT NULL,
    tokens bigint NOT NULL
);
"""
_TAKE: Final = """
INSERT INTO ostiary_quota AS kept (key, "window", requests, tokens)
SELECT $1::text, $2::bigint, $3::bigint, $4::bigint
WHERE ($5::bigint IS NULL OR $3 <= $5) AND ($6::bigint IS NULL OR $4 <= $6)
ON CONFLICT (key) DO UPDATE SET
    "window" = greatest(excluded."window", kept."window"),
    requests = excluded.requests + CASE WHEN excluded."window" > kept."window" THEN 0 ELSE kept.requests END,
    tokens = excluded.tokens + CASE WHEN excluded."window" > kept."window" THEN 0 ELSE kept.tokens END
WHERE ($5 IS NULL
       OR excluded.requests + CASE WHEN excluded."window" > kept."window" THEN 0 ELSE kept.requests END <= $5)
  AND ($6 IS NULL
       OR excluded.tokens + CASE WHEN excluded."window" > kept."window" THEN 0 ELSE kept.tokens END <= $6)
RETURNING requests, tokens, "window"
"""
_USED: Final = 'SELECT requests, tokens, "window" FROM ostiary_quota WHERE key = $1 AND "window" >= $2'
_GIVE_BACK: Final = 'UPDATE ostiary_quota SET tokens = greatest(0, tokens - $3) WHERE key = $1 AND "window" = $2'
_STANDING: Final = 'SELECT requests, tokens, "window" FROM ostiary_quota WHERE key = $1'
_RESET: Final = "UPDATE ostiary_quota SET requests = 0, tokens = 0 WHERE key = $1"
_LAST: Final = "SELECT max(key) FROM (SELECT key FROM ostiary_quota WHERE key > $1 ORDER BY key LIMIT $2) AS looked_at"
_FORGET: Final = 'DELETE FROM ostiary_quota WHERE key > $1 AND key <= $2 AND "window" < $3'


class PostgresCounters:
    """Counts in the table `ostiary_quota` of the database at `url` (`postgresql://…`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def start(self) -> None:
        """Connect, and make the table if it is missing; raises CountersUnavailable."""
        async with _reported():
            # A pool that is to keep some connections makes them again by itself, and logs the address where it can't.
            self._pool = await asyncpg.create_pool(
                self._url, min_size=0, max_size=_CONNECTIONS, timeout=_SECONDS, command_timeout=_SECONDS
            )
            async with self._opened.acquire() as connection, connection.transaction():
                await connection.execute(_SCHEMA)

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.close()

    async def take(self, units: Charge) -> tuple[bool, Usage]:
        """Return whether the units were taken, and the usage now; raises CountersUnavailable.

        Where a connection breaks, it asks once more on a new one. At worst the units are taken twice, and never given.
        """
        async with _reported():
            try:
                return await self._taken(units)
            except _LOST:
                # What is idle is no younger than what broke.
                await self._opened.expire_connections()
                return await self._taken(units)

    async def _taken(self, units: Charge) -> tuple[bool, Usage]:
        limits = units.most_requests, units.most_tokens
        row = await self._opened.fetchrow(_TAKE, units.key, units.window, units.requests, units.tokens, *limits)
        if row is not None:
            return True, Usage(*row)
        row = await self._opened.fetchrow(_USED, units.key, units.window)
        return False, Usage(*row) if row is not None else Usage(0, 0, units.window)

    async def give_back(self, key: str, window: int, tokens: int) -> None:
        """Correct the tokens used in that period; raises CountersUnavailable."""
        async with _reported():
            await self._opened.execute(_GIVE_BACK, key, window, tokens)

    async def used(self, key: str) -> Usage | None:
        """Return the usage in the last period that was counted; raises CountersUnavailable."""
        async with _reported():
            row = await self._opened.fetchrow(_STANDING, key)
        return None if row is None else Usage(*row)

    async def reset(self, key: str) -> None:
        """Set the counts of the period that is in force to 0; raises CountersUnavailable."""
        async with _reported():
            await self._opened.execute(_RESET, key)

    async def ping(self) -> None:
        """Return if the store answers; raises CountersUnavailable."""
        async with _reported():
            await self._opened.execute("SELECT 1")

    async def forget(self, before: int) -> None:
        """Remove what was counted in periods that started before then, in steps; raises CountersUnavailable."""
        after = ""
        while True:
            async with _reported():
                last = await self._opened.fetchval(_LAST, after, LOOKED_AT)
                if last is None:
                    return
                await self._opened.execute(_FORGET, after, last, before)
            after = last
            await asyncio.sleep(FORGET_PAUSE)

    @property
    def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            raise RuntimeError("the quota's store is used before it is started")
        return self._pool


@asynccontextmanager
async def _reported() -> AsyncIterator[None]:
    try:
        yield
    except (*_FAULTS, OSError, TimeoutError) as error:
        # The texts of such errors may hold the address; what kind it is says enough.
        raise CountersUnavailable(f"the quotas in PostgreSQL can't be used ({type(error).__name__})") from None
