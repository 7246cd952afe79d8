"""PostgreSQL ends under a server at work, and comes back: nothing is half there, and nobody is told what isn't true."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from server.authn.key_store import KeyStore
from tests.support.callers import bearer
from tests.support.conversations_server import said, talking
from tests.support.databases import backend, rows
from tests.support.files_server import Keeping, end_all_claims, is_tidy, wait_until
from tests.support.ostiary_run import environment, running, written
from tests.support.outage_clients import GONE, Refused, Told, Witness
from tests.support.postgres import Postgres, running_postgres
from tests.support.postgres_proxy import cutting
from tests.support.serving import Address

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
ROUNDS = 25 if NIGHTLY else 1
CLIENTS = 4
CONFIG = """
version: 2
apis: [inference]
providers:
  inference:
  - {provider_id: echo, provider_type: inline::echo}
models:
- {model_id: m, provider_id: echo}
storage:
  backends:
    sql: SQL
    kv: KV
  stores:
    metadata: {backend: kv, namespace: registry}
    inference: {backend: sql, table_name: chats}
    conversations: {backend: sql, table_name: openai_conversations}
    prompts: {backend: kv, namespace: prompts}
    files: {backend: sql, table_name: files}
  blobs: {type: local, path: BLOBS}
server:
  decision_log: LOG
  auth:
    provider_config: {type: api_key, db_path: KEYS}
"""
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

Fault = Callable[[Postgres, "Crowd", Random], None]


class Crowd:
    """Witnesses at work."""

    def __init__(self, witnesses: list[Witness], work: list[Future[None]]) -> None:
        self._witnesses = witnesses
        self._work = work

    def wait_for_answers(self, each: int = 5) -> None:
        """Return once each of them was told so many times more that something is done."""
        self._wait([witness.done + each for witness in self._witnesses], lambda witness: witness.done)

    def wait_for_refusals(self) -> None:
        """Return once each of them was told that the database is away."""
        self._wait([witness.refused + 1 for witness in self._witnesses], lambda witness: witness.refused)

    def _wait(self, wanted: list[int], count: Callable[[Witness], int]) -> None:
        def reached() -> bool:
            for work in self._work:
                if work.done():
                    work.result()
            return all(count(witness) >= most for witness, most in zip(self._witnesses, wanted, strict=True))

        wait_until(reached, 60)


def asked(database: str, statement: str) -> list[tuple[Any, ...]]:
    """What is found past the server; a PostgreSQL that is recovering is waited for."""
    for _ in range(300):
        with suppress(asyncpg.PostgresError, OSError):
            return rows(database, statement)
        time.sleep(0.1)
    pytest.fail("PostgreSQL does not come back")


def backends(postgres: Postgres) -> list[int]:
    """The processes that serve the server, once there are some."""
    found: list[int] = []

    def some() -> bool:
        found.extend(pid for (pid,) in asked(postgres.url, BACKENDS))
        return bool(found)

    wait_until(some)
    return found


def end_all_connections(postgres: Postgres, crowd: Crowd, dice: Random) -> None:
    for pid in backends(postgres):
        asked(postgres.url, f"SELECT pg_terminate_backend({pid})")


def end_some_connections(postgres: Postgres, crowd: Crowd, dice: Random) -> None:
    for _ in range(10):
        asked(postgres.url, f"SELECT pg_terminate_backend({dice.choice(backends(postgres))})")


def kill_one_backend(postgres: Postgres, crowd: Crowd, dice: Random) -> None:
    """PostgreSQL then ends all the others, and recovers as from a crash."""
    with suppress(ProcessLookupError):
        os.kill(dice.choice(backends(postgres)), signal.SIGKILL)


def kill_postgres(postgres: Postgres, crowd: Crowd, dice: Random) -> None:
    postgres.kill()
    if dice.random() < 0.5:
        crowd.wait_for_refusals()
    postgres.start()


FAULTS: list[Fault] = [end_all_connections, end_some_connections, kill_one_backend, kill_postgres]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [int.from_bytes(os.urandom(2)), 2, 3] if NIGHTLY else [1])
def test_a_server_lives_through_every_end_of_its_postgresql(opa_binary: Path, tmp_path: Path, seed: int) -> None:
    environ, blobs = environment(tmp_path, opa_binary), tmp_path / "blobs"
    with running_postgres() as postgres:
        config = written(tmp_path, config_of(postgres.url, tmp_path))
        with running(config, environ) as server:
            keys = KeyStore(tmp_path / "keys.db")
            address = Address("127.0.0.1", server.port)
            witnesses = [
                Witness(address, number, bearer(keys.create(f"w{number}", {}, None)))
                for number in range(CLIENTS * seed, CLIENTS * (seed + 1))
            ]
            live_through(postgres, witnesses, Random(seed))  # noqa: S311 - a test's dice
            check_told(witnesses)
            assert server.process.poll() is None
            assert "Traceback" not in server.banner and "the request failed" not in server.banner
        check_whole(postgres.url, witnesses)
        kept = Keeping(None, blobs, "files", postgres.url)  # type: ignore[arg-type]
        end_all_claims(kept)
        with running(config, environ):
            wait_until(lambda: is_tidy(kept))


def test_a_caller_without_an_answer_of_the_database_is_told_that_it_is_not_known(
    opa_binary: Path, tmp_path: Path, postgres_url: str
) -> None:
    with cutting(postgres_url) as way, talking(opa_binary, tmp_path, way.url) as talk:
        way.at = (b"COMMIT\0",)
        answer = talk.post("", {"items": [said("x")]})
        way.at = ()
        assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        assert Refused(answer).in_doubt
        assert talk.count() == (1, 1)


def config_of(database: str, folder: Path) -> str:
    """The configuration of a server that keeps everything there."""
    text = CONFIG.replace("SQL", backend(database)).replace("KV", backend(database, "kv"))
    return text.replace("BLOBS", str(folder / "blobs")).replace("KEYS", str(folder / "keys.db"))


def live_through(postgres: Postgres, witnesses: list[Witness], dice: Random) -> None:
    """Everything that can happen, while all of them work."""
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        work = [pool.submit(witness.work, stop) for witness in witnesses]
        try:
            crowd = Crowd(witnesses, work)
            for _ in range(ROUNDS):
                for fault in dice.sample(FAULTS, len(FAULTS)):
                    crowd.wait_for_answers()
                    stop.wait(dice.uniform(0, 0.1))  # any moment will do
                    fault(postgres, crowd, dice)
            crowd.wait_for_answers()
        finally:
            stop.set()
        for each in work:
            each.result()


def check_told(witnesses: list[Witness]) -> None:
    """All that they were told is so."""
    for witness in witnesses:
        for told in witness.told:
            wait_until(lambda witness=witness, told=told: is_settled(witness, told))  # type: ignore[misc]


def is_settled(witness: Witness, told: Told) -> bool:
    """Whether it looks as it must; connections that PostgreSQL has ended are found when they are used."""
    try:
        witness.look(told)
    except Refused:
        return False
    return len(told.looks) == 1


def there(witnesses: list[Witness]) -> list[Told]:
    """What is still there, of all that they know."""
    return [told for witness in witnesses for told in witness.told if told.looks != {GONE}]


def check_whole(database: str, witnesses: list[Witness]) -> None:
    """Check what is in the database, be it known to anybody or not."""
    found = dict[str, int]()
    for path, table, parts, wanted in (
        ("/v1/conversations", "openai_conversations", "conversation_items", "count(p.id) = 3"),
        ("/v1/chat/completions", "chats", "chats_messages", "count(p.id) = 1"),
        (
            "/v1/prompts",
            "kv_prompts",
            "kv_prompts_versions",
            "count(p.id) = max((r.body::json ->> 'latest')::integer) AND count(p.id) > 0",
        ),
    ):
        statement = f"SELECT {wanted} FROM {table} r LEFT JOIN {parts} p ON p.parent = r.id GROUP BY r.id"  # noqa: S608 - the test's own
        whole = [row[0] for row in asked(database, statement)]
        assert all(whole)
        found[path] = len(whole)
        assert asked(database, f"SELECT id FROM {parts} WHERE parent NOT IN (SELECT id FROM {table})") == []  # noqa: S608 - likewise
    found["/v1/files"] = len(asked(database, "SELECT id FROM files"))
    for path, count in found.items():
        known = sum(told.kind.path == path for told in there(witnesses))
        lost = sum(witness.lost.count(path) for witness in witnesses)
        assert known <= count <= known + lost
