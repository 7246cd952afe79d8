"""kill -9 in the middle of writing: what was answered is there afterwards, and nothing is half there."""

from __future__ import annotations

import os
import threading
import time
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
    # What is counted is what is there: a conversation and three items each, none of which has an owner.
    counted = "SELECT records FROM ostiary_usage WHERE key = 'owner:'"
    assert sum(records for (records,) in rows(database, counted)) == 4 * len(items)


def test_a_removal_goes_on_after_a_kill_and_one_of_two_servers_finishes_it(database: str) -> None:
    config = CONFIG.replace("BACKEND", backend(database))
    with files_server(config) as (address, process):
        other, gone = (address.post(CONVERSATIONS, {"items": [said("a")]}).json["id"] for _ in range(2))
        fill(database, gone, 20_000)
        assert address.get(f"{CONVERSATIONS}/{gone}", method="DELETE").status == 200
        assert address.get(f"{CONVERSATIONS}/{gone}").status == 404
        process.kill()
    assert left(database, gone) > 0
    # As if the time of its mark were over.
    rows(database, "UPDATE openai_conversations SET expires_at = 0 WHERE expires_at < 0")
    with files_server(config) as (address, _), files_server(config) as (second, _):
        assert [each.get(f"{CONVERSATIONS}/{gone}/items").status for each in (address, second)] == [404, 404]
        deadline = time.monotonic() + 60
        while rows(database, "SELECT id FROM openai_conversations WHERE expires_at < 1") or left(database, gone):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert second.get(f"{CONVERSATIONS}/{other}").status == 200
    assert rows(database, "SELECT key, records FROM ostiary_usage ORDER BY key") == [
        ("owner:", 2),
        (f"parts:conversation_items/{other}", 1),
    ]


def fill(database: str, conversation: str, count: int) -> None:
    """Add items to a conversation, quicker than the server would."""
    numbers = (
        f"generate_series(1, {count}) AS numbers(n)"
        if database.startswith("postgresql:")
        else f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "  # noqa: S608 - the test's own
        "SELECT n FROM numbers) AS numbers"
    )
    columns = "id, parent, ordering, created_at, access_attributes, origin, facet, version, labels, body"
    values = f"'msg_' || n, '{conversation}', n, 1, '{{}}', 'created', '', 1, '{{}}', '{{}}'"
    rows(database, f"INSERT INTO conversation_items ({columns}) SELECT {values} FROM {numbers}")  # noqa: S608 - as above


def left(database: str, conversation: str) -> int:
    """The number of items of a conversation."""
    [(count,)] = rows(database, f"SELECT count(*) FROM conversation_items WHERE parent = '{conversation}'")  # noqa: S608 - as above
    return int(count)
