"""kill -9, or a stop, while batches are run: each line has one result, and no provider is asked twice about one."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Any

import pytest

from server.api.batches import queue, worker
from tests.support.batches_server import BATCHES, CHAT, OVER, batching_on, chat, tokens_of, written
from tests.support.databases import KINDS, backend, empty_database, rows
from tests.support.files_process import files_server
from tests.support.files_server import BOUNDARY, form_of, wait_until
from tests.support.line_provider import LineProvider, line_provider
from tests.support.patience import PATIENCE
from tests.support.serving import Address

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
CONFIG = """
version: 2
apis: [inference]
providers:
  inference:
  - {provider_id: far, provider_type: remote::vllm, config: {url: "URL/v1"}}
models:
- {model_id: m, provider_id: far}
storage:
  backends:
    sql: BACKEND
  stores:
    files: {backend: sql, table_name: openai_files}
  blobs: {type: local, path: BLOBS}
"""


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An SQLite file, or the address of a database in PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "records.db")
        return
    with empty_database(request.getfixturevalue("postgres_url")) as url:
        yield url


def config(database: str, far: LineProvider, folder: Path) -> str:
    text = CONFIG.replace("BACKEND", backend(database)).replace("URL", far.url)
    return text.replace("BLOBS", str(folder / "blobs"))


def begun(address: Address, lines: list[Any]) -> str:
    """The id of a batch of these lines."""
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    form = form_of(written(lines), "lines.jsonl", "batch")
    file = address.ask("POST", "/v1/files", body=form, kind=kind).json["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    answer = address.post(BATCHES, body)
    assert answer.status == 200, answer.body
    return str(answer.json["id"])


def end_leases(database: str) -> None:
    """As if the time of a killed server were over."""
    rows(database, "UPDATE batches_work SET expires_at = 0")


def results(address: Address, batch: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A batch that comes to its end, and the lines of its files."""
    until = time.monotonic() + 60
    while (shown := address.get(f"{BATCHES}/{batch}").json)["status"] not in OVER:
        assert time.monotonic() < until, shown
        time.sleep(0.02)
    found = []
    for name in ("output_file_id", "error_file_id"):
        body = address.get(f"/v1/files/{shown[name]}/content").body if shown[name] else b""
        lines = [loads(line) for line in body.splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        found.append({line["custom_id"]: line for line in lines})
    good, bad = found
    assert not good.keys() & bad.keys()
    counts = {"total": len(good) + len(bad), "completed": len(good), "failed": len(bad)}
    assert shown["request_counts"] == counts
    assert shown["usage"]["total_tokens"] == tokens_of([*good.values()])
    return shown, good, bad


def once(far: LineProvider) -> bool:
    """Whether no line was asked about twice."""
    return max(Counter(far.asked).values(), default=1) == 1


def test_what_was_under_way_is_not_done_again(database: str, tmp_path: Path) -> None:
    lines = [chat(f"ready-{number}", f"ready {number}") for number in range(20)]
    lines += [chat(f"held-{number}", f"hold {number}") for number in range(16)]
    lines += [chat(f"rest-{number}", f"rest {number}") for number in range(20)]
    with line_provider() as far:
        with files_server(config(database, far, tmp_path)) as (address, process):
            batch = begun(address, lines)
            wait_until(lambda: sum(text.startswith("hold") for text in far.asked) == 16)
            wait_until(lambda: address.get(f"{BATCHES}/{batch}").json["request_counts"]["completed"] == 20)
            process.kill()
        far.go_on.set()
        end_leases(database)
        with files_server(config(database, far, tmp_path)) as (address, _):
            shown, good, bad = results(address, batch)
        assert shown["status"] == "completed"
        assert len(good) == 40
        assert {*bad} == {f"held-{number}" for number in range(16)}
        assert {line["error"]["code"] for line in bad.values()} == {"batch_interrupted"}
        assert once(far)


@pytest.mark.skipif(not NIGHTLY, reason="takes minutes")
@pytest.mark.timeout(1800)
def test_no_point_loses_or_repeats_a_line(database: str, tmp_path: Path) -> None:
    draw = random.Random()  # noqa: S311 - no secret
    with line_provider() as far:
        made = list[str]()
        for number in range(25):
            with files_server(config(database, far, tmp_path)) as (address, process):
                made.append(begun(address, [chat(f"{place}", f"{number} {place}") for place in range(150)]))
                if number % 3 == 0:
                    address.post(f"{BATCHES}/{draw.choice(made)}/cancel", b"")
                time.sleep(draw.uniform(0, 1.5))
                process.kill()
            end_leases(database)
        with files_server(config(database, far, tmp_path)) as (address, _):
            for batch in made:
                shown, good, bad = results(address, batch)
                assert shown["request_counts"]["total"] in (0, 150)
                codes = {line["error"]["code"] for line in bad.values() if line["error"]}
                assert codes <= {"batch_interrupted", "batch_cancelled"}
                assert len(good) + len(bad) == shown["request_counts"]["total"]
    assert once(far)


def test_a_server_that_stops_leaves_the_rest_to_another(tmp_path: Path, opa_binary: Path) -> None:
    database, gone = str(tmp_path / "records.db"), tmp_path / "one"
    gone.mkdir()
    lines = [chat(f"held-{number}", f"hold {number}") for number in range(3)]
    lines += [chat(f"rest-{number}", f"rest {number}") for number in range(40)]
    blobs = str(tmp_path / "blobs")
    with line_provider() as far, pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "FINISH_SECONDS", 0.05)
        patch.setattr(queue, "LEASE_SECONDS", 10 * PATIENCE)
        with batching_on(opa_binary, gone, database, far.url, blobs=blobs) as place:
            batch = place.begun(lines)
            place.until(batch, lambda shown: shown["request_counts"]["completed"] == 40)
            wait_until(lambda: len(far.asked) == 43)
        # No lease has to end before another server goes on.
        with batching_on(opa_binary, tmp_path, database, far.url, blobs=blobs) as place:
            good, bad = place.results(place.over(batch))
        assert (len(good), len(bad)) == (40, 3)
        assert {line["error"]["code"] for line in bad.values()} == {"batch_interrupted"}
        assert once(far)
