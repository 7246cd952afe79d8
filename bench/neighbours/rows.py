"""Many records at once, written into the database beside the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from server.storage.database.database import Database, Step
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase

_AT_ONCE: Final = 20_000
_NUMBERS: Final = {
    "sqlite": "WITH RECURSIVE all_of(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM all_of WHERE n < ?2 - 1)",
    "postgresql": "WITH all_of AS (SELECT generate_series(CAST(?1 AS int), CAST(?2 AS int) - 1) AS n)",
}
_COPIES: Final = """
INSERT INTO "TABLE" SELECT id || '-' || n, parent, ordering - 1 - n, created_at, owner_principal, owner_issuer,
access_attributes, origin, facet, expires_at, version, labels, body FROM all_of, "TABLE" WHERE id = ?3
"""


def copy_row(database: str, table: str, record: str, count: int) -> None:
    """Add that many older copies of a record to its table, with its owner and its parent."""
    asyncio.run(_copy(opened(database), table, record, count))


def opened(database: str) -> Database:
    """Return the database at an address, or in an SQLite file."""
    return PostgresDatabase(database) if database.startswith("postgresql:") else SqliteDatabase(Path(database))


async def _copy(database: Database, table: str, record: str, count: int) -> None:
    await database.start()
    try:
        statement = _NUMBERS[database.kind] + _COPIES.replace("TABLE", table)
        for first in range(0, count, _AT_ONCE):
            await database.write(Step(statement, (first, min(first + _AT_ONCE, count), record)))
        if database.kind == "postgresql":
            # PostgreSQL does so on its own, some time after a table has grown.
            await database.script("ANALYZE;")
    finally:
        await database.close()
