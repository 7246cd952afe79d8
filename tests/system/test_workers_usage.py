"""Two workers count into one database: exactly, while they serve and where they end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import backend, empty_database, rows
from tests.support.ostiary_run import OPEN, environment, eventually, gone, running, written

REQUESTS = 200
STORES = """\
storage:
  backends:
    kept: BACKEND
  stores:
    metadata: {backend: kept, namespace: registry}
"""
SUMS = 'SELECT sum(requests), sum(total_tokens) FROM "kv_registry_usage$days"'


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "kept.db")
    else:
        with empty_database(request.getfixturevalue("postgres_url")) as url:
            yield url


def test_what_two_workers_serve_is_counted_exactly(database: str, tmp_path: Path, opa_binary: Path) -> None:
    config = written(tmp_path, OPEN + "  workers: 2\n" + STORES.replace("BACKEND", backend(database, "kv")))
    with running(config, environment(tmp_path, opa_binary)) as server:
        chat: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}

        def ask(number: int) -> int:
            path, body = f"{server.address}/v1/chat/completions", chat | {"stream": number % 2 == 0}
            return httpx.post(path, json=body, timeout=60).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = [*pool.map(ask, range(REQUESTS))]
        # On a busy machine the policy engine may be too late; then no model was asked.
        assert {*statuses} <= {200, 503}
        asked = statuses.count(200)
        assert asked > REQUESTS // 2
        assert eventually(lambda: _sums(database)[0] == asked)
        tokens = _sums(database)[1] // asked
        assert _sums(database) == (asked, asked * tokens)
        [entry] = httpx.get(f"{server.address}/v1/usage", timeout=60).json()["data"]
        assert (entry["id"], entry["requests"]) == ("usage::anonymous", asked)
        # What was counted just before the end is written at the end.
        asked += [ask(1) for _ in range(10)].count(200)
        workers = server.workers
        server.signal(signal.SIGTERM)
        assert gone(workers)
    assert _sums(database) == (asked, asked * tokens)


def _sums(database: str) -> tuple[int, int]:
    [(requests, tokens)] = rows(database, SUMS)
    return int(requests or 0), int(tokens or 0)
