"""kill -9 in the middle of writing: what was answered is there afterwards, and nothing is half there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conversations_server import CONVERSATIONS, said
from tests.support.databases import KINDS, backend, empty_database, rows
from tests.support.files_process import files_server
from tests.support.serving import Address

ROUNDS = 10 if os.environ.get("OSTIARY_NIGHTLY") == "1" else 2
CLIENTS = 4
CONFIG = """
version: 2
apis: [inference]
storage:
  backends:
    sql: BACKEND
  stores:
    conversations: {backend: sql, table_name: openai_conversations}
"""


class Written:
    """What a server has answered."""

    def __init__(self, wanted: int) -> None:
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.enough = threading.Event()
        self._wanted = wanted

    def write(self, address: Address) -> None:
        """Make conversations, and delete every third one, until nobody answers."""
        try:
            while True:
                answer = address.post(CONVERSATIONS, {"items": [said("a"), said("b"), said("c")]})
                assert answer.status == 200
                identity = str(answer.json["id"])
                self.made.append(identity)
                if len(self.made) % 3 == 0:
                    # It may be gone without an answer to tell.
                    self.deleted.append(identity)
                    address.get(f"{CONVERSATIONS}/{identity}", method="DELETE")
                if len(self.made) >= self._wanted:
                    self.enough.set()
        except (OSError, ValueError, IndexError):
            return


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An SQLite file, or the address of a database in PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "records.db")
        return
    with empty_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.mark.timeout(300)
def test_what_was_answered_survives_and_nothing_is_half_there(database: str) -> None:
    config = CONFIG.replace("BACKEND", backend(database))
    kept: list[str] = []
    for number in range(ROUNDS):
        written = Written(20 + 17 * number)
        with files_server(config) as (address, process):
            clients = [threading.Thread(target=written.write, args=(address,)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            assert written.enough.wait(60)
            process.kill()
            for client in clients:
                client.join(60)
        kept += [identity for identity in written.made if identity not in written.deleted]
        check(database, kept, written.deleted)
    with files_server(config) as (address, _):
        for identity in kept[:: max(1, len(kept) // 20)]:
            assert address.get(f"{CONVERSATIONS}/{identity}").json["id"] == identity


def check(database: str, kept: list[str], deleted: list[str]) -> None:
    """Check what the server has left."""
    if not database.startswith("postgresql:"):
        assert rows(database, "PRAGMA integrity_check") == [("ok",)]
        assert rows(database, "PRAGMA foreign_key_check") == []
    whole = "SELECT c.id, count(i.id) FROM openai_conversations c LEFT JOIN conversation_items i ON i.parent = c.id"
    items = dict(rows(database, f"{whole} GROUP BY c.id"))
    assert {*kept} <= items.keys()
    # Of those without an answer some are there, and all of each.
    assert {*items.values()} == {3}
    assert len(items.keys() - {*kept} - {*deleted}) <= ROUNDS * CLIENTS
