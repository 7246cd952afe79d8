"""kill -9, or a stop, while responses are answered later: none stays under way, and no provider is asked twice."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api.responses.background import worker as background
from server.api.responses.background.worker import AT_ONCE_EACH
from tests.support.databases import KINDS, backend, empty_database, rows
from tests.support.event_reader import opened
from tests.support.failing_provider import Upstream, upstream
from tests.support.files_process import files_server
from tests.support.files_server import wait_until
from tests.support.responses_server import RESPONSES, events_of, responding_on
from tests.support.serving import Address

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
ENDS = {"response.completed", "response.incomplete", "response.failed"}
CONFIG = """
version: 2
apis: [inference, agents]
providers:
  inference:
  - {provider_id: far, provider_type: remote::openai, config: {base_url: "URL/v1"}}
  agents:
  - provider_id: builtin
    provider_type: inline::builtin
    config: {persistence: {responses: {backend: sql, table_name: answers}}}
models:
- {model_id: m, provider_id: far}
- {model_id: gated, provider_id: far}
storage:
  backends:
    sql: BACKEND
"""


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An SQLite file, or the address of a database in PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "records.db")
        return
    with empty_database(request.getfixturevalue("postgres_url")) as url:
        yield url


def config(database: str, far: Upstream) -> str:
    return CONFIG.replace("BACKEND", backend(database)).replace("URL", far.url)


def later(address: Address, said: str, model: str, **more: Any) -> str:
    """The id of a response that is answered later."""
    answer = address.post(RESPONSES, {"model": model, "input": said, "background": True, **more})
    assert answer.status == 200, answer.body
    return str(answer.json["id"])


def over(address: Address, identity: str) -> Any:
    until = time.monotonic() + 60
    while (shown := address.get(f"{RESPONSES}/{identity}").json)["status"] in ("queued", "in_progress"):
        assert time.monotonic() < until, shown
        time.sleep(0.05)
    return shown


def end_leases(database: str) -> None:
    """Have the leases of a killed server be over now."""
    rows(database, "UPDATE answers_work SET expires_at = 1 WHERE facet <> '' RETURNING id")


def told_once(far: Upstream) -> bool:
    """Whether no text has reached the provider twice."""
    return max(Counter(body["messages"][-1]["content"] for _, _, body in far.asked).values()) == 1


def test_what_was_asked_has_failed_and_what_waited_is_answered(database: str) -> None:
    with upstream() as far:
        with files_server(config(database, far)) as (address, process):
            held = [later(address, f"held {number}", "gated") for number in range(AT_ONCE_EACH - 1)]
            body = {"model": "gated", "input": "streamed", "background": True, "stream": True}
            with opened(address, "POST", RESPONSES, body) as events:
                streamed = next(events)["response"]["id"]
                assert any(event["type"] == "response.output_text.delta" for event in events)
            waiting = later(address, "waiting", "m")
            wait_until(lambda: len(far.asked) >= AT_ONCE_EACH)
            assert address.get(f"{RESPONSES}/{waiting}").json["status"] == "queued"
            process.kill()
        end_leases(database)
        with files_server(config(database, far)) as (address, _):
            for identity in (*held, streamed):
                shown = over(address, identity)
                assert (shown["status"], shown["error"]["code"]) == ("failed", "server_error")
                assert "interrupted" in shown["error"]["message"]
            told = events_of(address.get(f"{RESPONSES}/{streamed}?stream=true").body)
            assert over(address, waiting)["status"] == "completed"
    assert told_once(far)
    assert [event["sequence_number"] for event in told] == [*range(len(told))]
    assert [event["type"] for event in told if event["type"] in ENDS] == ["response.failed"]
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "first"
    assert told[-1]["response"] == shown


@pytest.mark.skipif(not NIGHTLY, reason="takes minutes")
@pytest.mark.timeout(900)
def test_no_point_leaves_anything_under_way(database: str) -> None:
    draw = random.Random()  # noqa: S311 - no secret
    with upstream() as far:
        made = list[str]()
        for number in range(25):
            with files_server(config(database, far)) as (address, process):
                for place in range(30):
                    text = f"{number} {place}"
                    body = {"model": "m", "input": text, "background": True, "stream": True}
                    if place % 2:
                        made.append(later(address, text, "m"))
                        continue
                    with opened(address, "POST", RESPONSES, body) as events:
                        made.append(next(events)["response"]["id"])
                time.sleep(draw.uniform(0, 0.3))
                process.kill()
            end_leases(database)
        with files_server(config(database, far)) as (address, _):
            shown = [over(address, identity) for identity in made]
            assert {each["status"] for each in shown} <= {"completed", "failed"}
            assert {"interrupted" in each["error"]["message"] for each in shown if each["error"]} <= {True}
    assert told_once(far)


def test_a_server_that_stops_leaves_nothing_under_way(tmp_path: Path, opa_binary: Path) -> None:
    database, gone = str(tmp_path / "records.db"), tmp_path / "one"
    gone.mkdir()
    with upstream() as far, pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "FINISH_SECONDS", 0.05)
        with responding_on(opa_binary, gone, database, far.url) as place:
            held = [place.made(model="gated", background=True)["id"] for _ in range(AT_ONCE_EACH)]
            waiting = place.made("waiting", model="m", background=True)["id"]
            wait_until(lambda: len(far.asked) >= AT_ONCE_EACH)
        # No lease has to end before another server goes on.
        with responding_on(opa_binary, tmp_path, database, far.url) as place:
            assert place.over(waiting)["status"] == "completed"
            for identity in held:
                shown = place.ask("GET", f"{RESPONSES}/{identity}").json
                assert (shown["status"], "interrupted" in shown["error"]["message"]) == ("failed", True)
    assert len(far.asked) == AT_ONCE_EACH + 1
