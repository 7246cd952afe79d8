"""Databases for the tests, each a real one, and nothing of them left afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from server.storage.database import Database
from server.storage.postgres import PostgresDatabase
from server.storage.sqlite import SqliteDatabase

KINDS = ["sqlite", "postgresql"]

Make = Callable[[], Database]
"""Each call is another server's view of the same database."""


@contextmanager
def empty_sqlite(folder: Path) -> Iterator[Make]:
    """An SQLite file that nobody has opened yet."""
    yield lambda: SqliteDatabase(folder / "var" / "records.db")


@contextmanager
def empty_postgres(url: str) -> Iterator[Make]:
    """A schema of one's own in PostgreSQL."""
    with empty_schema(url) as own:
        yield lambda: PostgresDatabase(own)


@contextmanager
def empty_schema(url: str) -> Iterator[str]:
    """The address of a schema of one's own."""
    name = f"test_{secrets.token_hex(8)}"
    asyncio.run(_execute(url, f"CREATE SCHEMA {name}"))
    try:
        yield f"{url}{'&' if '?' in url else '?'}search_path={name}"
    finally:
        asyncio.run(_execute(url, f"DROP SCHEMA {name} CASCADE"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def opened(make: Make) -> AsyncIterator[Database]:
    """A database at work."""
    database = make()
    try:
        await database.start()
        yield database
    finally:
        await database.close()
