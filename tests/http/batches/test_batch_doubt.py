"""Changes of batches of which the database tells nothing, or which it can't make: no line is lost, and none is done
twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.api.batches import held
from server.http import held_lease
from server.storage.database.sqlite import SqliteDatabase
from tests.support.batches_server import Batching, batching, batching_on, chat
from tests.support.databases import empty_database
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider
from tests.support.postgres_proxy import cutting

COMMITS = (b"COMMIT\0",)
RENEWALS = (b"UPDATE 1\0",)
COMMITS_AND_READS = (b"COMMIT\0", b"SELECT 1\0")

LINES = [chat(f"held-{number}", f"hold {number}") for number in range(8)]
LINES += [chat(f"l{number}", f"text {number}") for number in range(120)]
COUNTS = (20, 40, 60)
"""Lines that have been asked when the database begins to fail."""


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[LineProvider]:
    # Much happens while the database tells nothing.
    monkeypatch.setattr(held, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(held_lease, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr("server.api.batches.worker.WATCH_SECONDS", 0.05)
    with line_provider() as running:
        yield running


def check(place: Batching, batch: str, far: LineProvider) -> None:
    """Each line is answered once, those too that were under way all the time."""
    far.go_on.set()
    good, bad = place.results(place.over(batch))
    assert (len(good), bad) == (len(LINES), {})
    assert max(Counter(far.asked).values()) == 1


@pytest.mark.parametrize("at", [COMMITS, RENEWALS, COMMITS_AND_READS])
def test_a_change_whose_answer_is_lost_is_made_once(
    far: LineProvider, opa_binary: Path, tmp_path: Path, postgres_url: str, at: tuple[bytes, ...]
) -> None:
    with (
        empty_database(postgres_url) as database,
        cutting(database) as way,
        batching_on(opa_binary, tmp_path, way.url, far.url) as place,
    ):
        batch = place.begun(LINES)
        for count in COUNTS:
            wait_until(lambda count=count: len(far.asked) >= count)  # type: ignore[misc]
            way.at = at
            time.sleep(0.3)
            way.at = ()
        check(place, batch, far)


def test_a_full_disk_loses_no_line(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, opening = list[SqliteDatabase](), SqliteDatabase.start

    async def start(self: SqliteDatabase) -> None:
        await opening(self)
        found.append(self)

    monkeypatch.setattr(SqliteDatabase, "start", start)
    with batching(opa_binary, tmp_path, None, far.url) as place:
        [writer] = {database._opened for database in found if str(database._path) == place.database}
        batch = place.begun(LINES)
        for count in COUNTS:
            wait_until(lambda count=count: len(far.asked) >= count)  # type: ignore[misc]
            # The file is as large as it may be: what needs a further page is refused, as by a full disk.
            asyncio.run(writer.execute_fetchall("PRAGMA max_page_count = 1"))
            time.sleep(0.3)
            with pytest.raises(sqlite3.OperationalError, match="full"):
                asyncio.run(writer.execute_fetchall("CREATE TABLE further (name TEXT)"))
            asyncio.run(writer.execute_fetchall("PRAGMA max_page_count = 1000000"))
        check(place, batch, far)
