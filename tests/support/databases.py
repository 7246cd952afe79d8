"""Databases for the tests, each a real one, and nothing of them left afterwards."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from server.storage.database.database import Database
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase

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


@contextmanager
def empty_database(url: str) -> Iterator[str]:
    """The address of a database of one's own, for what can't be told a schema."""
    name = f"test_{secrets.token_hex(8)}"
    asyncio.run(_execute(url, f"CREATE DATABASE {name}"))
    parts = urlsplit(url)
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(url, f"DROP DATABASE {name} WITH (FORCE)"))


def backend(database: str, kind: str = "sql") -> str:
    """The backend of a configuration, for tables or for keys and values (`kv`): an SQLite file, or PostgreSQL at an
    address.
    """
    if not database.startswith("postgresql:"):
        return f"{{type: {kind}_sqlite, db_path: {database}}}"
    parts = urlsplit(database)
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    password = f", password: {parts.password}" if parts.password else ""
    return (
        f"{{type: {kind}_postgres, host: {host}, port: {parts.port or 5432}, db: {parts.path[1:]}, "
        f"user: {parts.username}{password}}}"
    )


def rows(database: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds or does behind the server's back, in an SQLite file or PostgreSQL at an address."""
    if database.startswith("postgresql:"):
        return asyncio.run(_fetched(database, statement))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


async def _fetched(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def class_of(database: str) -> type[SqliteDatabase] | type[PostgresDatabase]:
    """What serves an SQLite file, or PostgreSQL at an address."""
    return PostgresDatabase if database.startswith("postgresql:") else SqliteDatabase


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
