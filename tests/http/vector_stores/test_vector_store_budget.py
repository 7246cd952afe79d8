"""What is taken in later is charged to the caller who attached it, and refused by the same rules as a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, bearer
from tests.support.vector_server import CONFIG, Holding, holding

CAROL = bearer("carol")
LIMITED = CONFIG.replace(
    "    server:\n",
    """    server:
      quota:
        kvstore: {type: sqlite, db_path: BLOBS.quota}
        authenticated_max_requests: 1000
        max_tokens_per_period: 300
        limits:
        - {when: user with bob in roles, max_requests: 1000, max_tokens_per_period: 1000000, max_bytes: 2000}
        - {when: user with carol in roles, max_requests: 1000, max_tokens_per_period: 1000000, max_bytes: 4000}
""",
).replace(
    """        - permit: {paths: "*"}
""",
    """        - forbid: {paths: "/v1/embeddings"}
        - permit: {paths: "*"}
""",
)


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holding]:
    """The server, whose index is open."""
    with holding(opa_binary, tmp_path_factory.mktemp("budget"), text=LIMITED) as running:
        until = time.monotonic() + 60
        body = {"vector_db_id": running.made(), "chunks": [{"content": "a", "metadata": {}}]}
        while running.house.address.ask("POST", "/v1/vector-io/insert", ALICE, body=body).status == 503:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield running


def taken_in(kept: Holding, store: str, text: str, caller: str = ALICE) -> Any:
    """The file in the store once its ingestion is over."""
    file_id = kept.file(text.encode(), caller)
    kept.got("POST", f"/{store}/files", {"file_id": file_id}, caller)
    until = time.monotonic() + 60
    while (shown := kept.got("GET", f"/{store}/files/{file_id}", None, caller))["status"] == "in_progress":
        assert time.monotonic() < until
        time.sleep(0.05)
    return shown


def test_the_tokens_of_a_file_are_those_of_its_caller(kept: Holding) -> None:
    store = kept.made()
    assert taken_in(kept, store, "a short text")["status"] == "completed"
    shown = taken_in(kept, store, "many words " * 300)
    assert (shown["status"], shown["last_error"]["code"]) == ("failed", "server_error")
    assert "tokens" in shown["last_error"]["message"]
    limited = [line for line in kept.house.whole_log() if line["kind"] == "quota"]
    assert [line["route"] for line in limited] == [f"POST /v1/vector_stores/{store}/files"]


def test_what_a_caller_may_keep_bounds_what_is_taken_in(kept: Holding) -> None:
    store = kept.made(BOB)
    shown = taken_in(kept, store, "x" * 300 + " y" * 400, BOB)
    assert (shown["status"], shown["usage_bytes"]) == ("failed", 0)
    assert shown["last_error"]["code"] == "server_error"
    assert kept.got("POST", f"/{store}/search", {"query": "y", "search_mode": "keyword"}, BOB)["data"] == []


def test_requests_at_once_put_in_no_more_than_a_caller_may_keep(kept: Holding) -> None:
    store = kept.made(CAROL)

    def put(number: int, size: int = 400) -> int:
        metadata = {"document_id": f"d{number}", "x": "x" * size}
        body = {"vector_db_id": store, "chunks": [{"content": "a", "metadata": metadata}]}
        answer = kept.house.address.ask("POST", "/v1/vector-io/insert", CAROL, body=body)
        if answer.status != 200:
            assert answer.error["code"] == "insufficient_quota"
        return answer.status

    with ThreadPoolExecutor(8) as pool:
        statuses = [*pool.map(put, range(8))]
    found = kept.got("POST", f"/{store}/search", {"query": "a"}, CAROL)["data"]
    assert len(found) == statuses.count(200)
    [(size,)] = kept.run("SELECT bytes FROM ostiary_usage WHERE key LIKE 'owner:%carol'")
    assert size <= 4000
    assert put(9, 4000) != 200
