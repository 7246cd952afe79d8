"""Rows that really lie in a database, and what the SQL of a record filter says of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from server.storage.database.dialect import POSTGRESQL, SQLITE
from server.storage.records.sql_filter import RowVerdict, SqlFilter

Row = dict[str, Any]
"""A record with the columns that a filter reads: `id`, `origin`, `owner_principal`, `owner_issuer` and
`access_attributes`."""

_COLUMNS: Final = ("id", "origin", "owner_principal", "owner_issuer", "access_attributes")
_TABLE: Final = (
    "TABLE records (place INTEGER PRIMARY KEY, id TEXT NOT NULL, origin TEXT NOT NULL,"
    " owner_principal TEXT, owner_issuer TEXT, access_attributes TEXT)"
)


class SqliteRows:
    """Rows in SQLite."""

    dialect = SQLITE

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute(f"CREATE {_TABLE} STRICT")

    def replace(self, rows: Sequence[Row]) -> None:
        """Keep these rows and no others."""
        self.connection.execute("DELETE FROM records")
        self.connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", _values(rows))

    def judge(self, found: SqlFilter) -> list[tuple[RowVerdict, bool]]:
        """Of each row the verdict, and whether the condition selects it."""
        chosen = self.connection.execute(_selecting(found), found.parameters).fetchall()
        return _judged(self.connection.execute(_judging(found), found.parameters).fetchall(), chosen)

    def close(self) -> None:
        """Forget the rows."""
        self.connection.close()


class PostgresRows:
    """The same in PostgreSQL, over asyncpg as in the server."""

    dialect = POSTGRESQL

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url, statement_cache_size=0))
        self._runner.run(self._connection.execute(f"CREATE TEMPORARY {_TABLE}"))

    def replace(self, rows: Sequence[Row]) -> None:
        """Keep these rows and no others."""
        self._runner.run(self._connection.execute("TRUNCATE records"))
        insert = "INSERT INTO records VALUES ($1, $2, $3, $4, $5, $6)"
        self._runner.run(self._connection.executemany(insert, _values(rows)))

    def judge(self, found: SqlFilter) -> list[tuple[RowVerdict, bool]]:
        """Of each row the verdict, and whether the condition selects it."""
        chosen = self._runner.run(self._connection.fetch(_selecting(found), *found.parameters))
        return _judged(self._runner.run(self._connection.fetch(_judging(found), *found.parameters)), chosen)

    def close(self) -> None:
        """Forget the rows, which nobody else has seen."""
        self._runner.run(self._connection.close())
        self._runner.close()


Rows = SqliteRows | PostgresRows


def _values(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return [(place, *(row[column] for column in _COLUMNS)) for place, row in enumerate(rows)]


def _selecting(found: SqlFilter) -> str:
    return f"SELECT place FROM records WHERE {found.condition}"  # noqa: S608 - it is under test


def _judging(found: SqlFilter) -> str:
    # As in the statement of a list: the verdict is selected beside a condition that uses every parameter.
    return f"SELECT place, {found.verdict}, {found.condition} FROM records ORDER BY place"  # noqa: S608 - likewise


def _judged(verdicts: Sequence[Any], chosen: Sequence[Any]) -> list[tuple[RowVerdict, bool]]:
    selected = {place for (place,) in chosen}
    return [(RowVerdict(verdict), place in selected) for place, verdict, _ in verdicts]
