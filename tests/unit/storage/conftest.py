"""Each kind of database, with rows in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.rows import PostgresRows, Rows, SqliteRows


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """A table of records, for one test after the other."""
    made = SqliteRows() if request.param == "sqlite" else PostgresRows(request.getfixturevalue("postgres_url"))
    with closing(made):
        yield made
