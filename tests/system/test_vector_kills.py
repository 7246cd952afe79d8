"""kill -9 of servers that take files in, let them go and purge: no acknowledged change is lost, and nothing comes back.

Two workers share the stores: a file that many attach at once is taken in once.
"""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ostiary_run import environment, eventually, running, written

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
KILLS = 15
SECONDS = 60.0

CHANCE = random.Random()  # noqa: S311 - chance, not secrets

CONFIG = """\
version: 2
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
  vector_io:
    - {provider_id: lance, provider_type: inline::lancedb, config: {db_path: "FOLDER/vectors"}}
models:
  - {model_id: vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
server:
  decision_log: LOG
"""


@dataclass
class Files:
    """What clients have been told of each file: the word that it alone has, and whether it is in the store."""

    store: str = ""
    inside: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    number: int = 0


def client(address: str) -> httpx.Client:
    return httpx.Client(base_url=f"{address}/v1", timeout=30)


def asked(server: httpx.Client, method: str, path: str, **given: Any) -> Any:
    """What is answered; a server that says that it is not ready yet is asked again."""
    end = time.monotonic() + SECONDS
    while (answer := server.request(method, path, **given)).status_code == 503 and time.monotonic() < end:
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    return answer.json()


def work(address: str, files: Files, stop: threading.Event) -> None:
    """Attach, detach and delete until the server is gone."""
    with client(address) as server, suppress(httpx.TransportError):
        while not stop.is_set():
            files.number += 1
            word = f"word{files.number}"
            content = {"file": (f"{word}.txt", f"{word} and more".encode())}
            identity = asked(server, "POST", "/files", data={"purpose": "assistants"}, files=content)["id"]
            files.inside[identity] = word
            files.doubtful.add(identity)
            asked(server, "POST", f"/vector_stores/{files.store}/files", json={"file_id": identity})
            files.doubtful.discard(identity)
            if CHANCE.random() < 0.5:
                other = CHANCE.choice([each for each in files.inside if each not in files.doubtful])
                files.doubtful.add(other)
                whole = CHANCE.random() < 0.5
                asked(server, "DELETE", f"/files/{other}" if whole else f"/vector_stores/{files.store}/files/{other}")
                files.gone[other] = files.inside.pop(other)
                files.doubtful.discard(other)


def found(server: httpx.Client, store: str, word: str) -> list[str]:
    body = {"query": word, "search_mode": "keyword"}
    return [hit["file_id"] for hit in asked(server, "POST", f"/vector_stores/{store}/search", json=body)["data"]]


def settled(server: httpx.Client, store: str) -> bool:
    shown = asked(server, "GET", f"/vector_stores/{store}")
    return shown["file_counts"]["in_progress"] == 0 and not shown["purge"]["pending"]


def is_open(server: httpx.Client, store: str) -> bool:
    return server.post(f"/vector_stores/{store}/search", json={"query": "a"}).status_code == 200


def settle(server: httpx.Client, store: str) -> None:
    """Return once the store is settled; raise AssertionError if none of the files that wait is done for a while."""
    before, end = -1, time.monotonic() + 2 * SECONDS
    while not settled(server, store):
        waiting = asked(server, "GET", f"/vector_stores/{store}")["file_counts"]["in_progress"]
        if before < 0 or waiting < before:
            before, end = waiting, time.monotonic() + 2 * SECONDS
        assert time.monotonic() < end, f"{waiting} files wait"
        time.sleep(0.2)


def until(condition: Any) -> None:
    end = time.monotonic() + 2 * SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.skipif(not NIGHTLY, reason="each kill takes seconds: `make nightly`")
@pytest.mark.timeout(1800)
def test_what_was_acknowledged_stays_and_what_was_deleted_stays_away(tmp_path: Path, opa_binary: Path) -> None:
    environ = {**environment(tmp_path, opa_binary), "OSTIARY_HOME": str(tmp_path / "home")}
    config = written(tmp_path, CONFIG.replace("FOLDER", str(tmp_path)))
    files = Files()
    for turn in range(KILLS):
        with running(config, environ, *(("--workers", "2") if turn % 2 == 0 else ())) as one:
            with client(one.address) as server:
                if not files.store:
                    files.store = asked(server, "POST", "/vector_stores", json={"embedding_model": "echo/vectors"})[
                        "id"
                    ]
                until(
                    lambda: server.post(f"/vector_stores/{files.store}/search", json={"query": "a"}).status_code == 200
                )
            stop = threading.Event()
            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(work, one.address, files, stop)
                time.sleep(CHANCE.uniform(1.0, 4.0))
                one.process.kill()
                one.process.wait()
                stop.set()
                done.result(SECONDS)
    assert files.inside, "the server was killed before anything was attached"
    with running(config, environ, "--workers", "2") as last, client(last.address) as server:
        until(lambda: is_open(server, files.store))
        settle(server, files.store)
        for identity, word in files.inside.items():
            if identity not in files.doubtful:
                shown = asked(server, "GET", f"/vector_stores/{files.store}/files/{identity}")
                assert (shown["status"], shown["last_error"]) == ("completed", None)
                assert found(server, files.store, word) == [identity]
        for identity, word in files.gone.items():
            if identity not in files.doubtful:
                assert found(server, files.store, word) == []
        once(server, files.store)


def once(server: httpx.Client, store: str) -> None:
    """Attach one file from many clients at once, through both workers."""
    content = {"file": ("a.txt", b"only once")}
    identity = asked(server, "POST", "/files", data={"purpose": "assistants"}, files=content)["id"]
    before = asked(server, "GET", f"/vector_stores/{store}")["file_counts"]["total"]
    address = str(server.base_url).removesuffix("/v1/")

    def attach(_: int) -> Any:
        with client(address) as own:
            return asked(own, "POST", f"/vector_stores/{store}/files", json={"file_id": identity})

    with ThreadPoolExecutor(20) as pool:
        shown = [*pool.map(attach, range(20))]
    assert len({(each["id"], each["created_at"]) for each in shown}) == 1
    until(lambda: settled(server, store))
    assert asked(server, "GET", f"/vector_stores/{store}")["file_counts"]["total"] == before + 1
    assert found(server, store, "only") == [identity]
    assert eventually(lambda: settled(server, store))
