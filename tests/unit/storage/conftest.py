"""Each kind of database, with rows in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.database_rows import PostgresRows, Rows, SqliteRows
from tests.support.databases import KINDS, Make, empty_postgres, empty_sqlite


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """A table of records, for one test after the other."""
    made = SqliteRows() if request.param == "sqlite" else PostgresRows(request.getfixturevalue("postgres_url"))
    with closing(made):
        yield made


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes databases that share what is kept, which is nothing at first; each call is another server's."""
    sqlite = request.param == "sqlite"
    with empty_sqlite(tmp_path) if sqlite else empty_postgres(request.getfixturevalue("postgres_url")) as made:
        yield made
