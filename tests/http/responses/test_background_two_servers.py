"""Two servers on one database: each answers, shows, cancels and replays what the other was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.api.responses.background import queue
from server.api.responses.background import worker as background
from server.api.responses.background.worker import AT_ONCE_EACH
from server.http import held_lease
from tests.support.callers import READER, bearer
from tests.support.databases import empty_database, rows
from tests.support.failing_provider import Upstream, upstream
from tests.support.files_server import wait_until
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, Responding, responding_on

ENDS = {"response.completed", "response.incomplete", "response.failed"}
BOTH = tuple[Responding, Responding]
HELD = {"model": "gated", "background": True}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def both(
    postgres: str | None, far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BOTH]:
    """Two servers that share their records, and look often at what the other has done."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opened:
        for name in ("POLL_SECONDS", "WATCH_SECONDS", "NOTE_SECONDS", "SWEEP_SECONDS"):
            patch.setattr(background, name, 0.2)
        # Nothing but these looks tells a server what the other one has ended.
        patch.setattr(held_lease, "RENEWAL_SECONDS", 15.0)
        database = str(folder / "records.db")
        if postgres is not None:
            database = opened.enter_context(empty_database(postgres))
        servers = [
            opened.enter_context(responding_on(opa_binary, _folder(folder, name), database, far.url))
            for name in ("one", "two")
        ]
        yield servers[0], servers[1]


def _folder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


@pytest.fixture(autouse=True)
def _anew(far: Upstream) -> None:
    far.forget()


def begun(place: Responding, far: Upstream) -> str:
    """A streamed response whose model has said a word and waits."""
    far.forget()
    with place.opened("POST", RESPONSES, {**HELD, "input": "hold", "stream": True}) as events:
        identity: str = next(events)["response"]["id"]
        assert any(event["type"] == "response.output_text.delta" for event in events)
    return identity


def test_what_one_has_no_place_for_the_other_answers(both: BOTH, far: Upstream) -> None:
    made = [both[0].made(**HELD)["id"] for _ in range(2 * AT_ONCE_EACH)]
    wait_until(lambda: len(far.asked) >= len(made))
    far.go_on.set()
    assert len({both[1].over(identity)["id"] for identity in made}) == len(made)
    assert len(far.asked) == len(made)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_it_is_ended_on_any_of_them(both: BOTH, far: Upstream, number: int, method: str) -> None:
    identity = begun(both[0], far)
    path = f"{RESPONSES}/{identity}{'/cancel' if method == 'POST' else ''}"
    assert both[number].ask(method, path).status == 200
    assert far.left.wait(PATIENCE)
    shown = [each.ask("GET", f"{RESPONSES}/{identity}") for each in both]
    if method == "DELETE":
        assert [answer.status for answer in shown] == [404, 404]
        return
    assert shown[0].json == shown[1].json
    assert shown[0].json["status"] == "cancelled"
    told = [each.replayed(identity) for each in both]
    assert told[0] == told[1]
    assert [event["type"] for event in told[0] if event["type"] in ENDS] == ["response.incomplete"]


def test_events_are_read_on_any_of_them(both: BOTH, far: Upstream) -> None:
    identity = begun(both[0], far)
    with ThreadPoolExecutor(6) as pool:
        reading = [pool.submit(both[number % 2].replayed, identity, "&starting_after=1") for number in range(6)]
        far.go_on.set()
        told = [each.result() for each in reading]
    whole = both[1].replayed(identity)
    assert [event["sequence_number"] for event in whole] == [*range(len(whole))]
    assert whole[-1]["type"] == "response.completed"
    assert all(each == whole[2:] for each in told)


def test_what_is_shown_to_one_counts_for_the_other(both: BOTH, far: Upstream) -> None:
    ann = bearer("ann")
    held = [both[0].made("hold", ann, **HELD)["id"] for _ in range(2 * AT_ONCE_EACH)]
    waiting = both[0].made("never", ann, **HELD)["id"]
    wait_until(lambda: len(far.asked) >= len(held))
    assert both[1].ask("GET", "/v1/models", caller=bearer("ann+modest")).status == 200
    written = "SELECT 1 FROM answers_callers WHERE body LIKE '%modest%'"
    wait_until(lambda: bool(rows(both[0].database, written)))
    far.go_on.set()
    # The caller itself would show itself anew.
    done = both[0].over(waiting, READER)
    assert (done["status"], "never" in str(far.asked)) == ("failed", False)
    for identity in held:
        both[0].over(identity, READER)


def test_events_go_some_time_after_the_end(both: BOTH, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "EVENTS_KEPT_SECONDS", 0)
    identity = both[0].streamed("hi", model="m", background=True)[0]["response"]["id"]
    answer = both[0].ask("GET", f"{RESPONSES}/{identity}?stream=true")
    assert (answer.status, answer.error["param"]) == (400, "stream")
    left = f"SELECT count(*) FROM answers_parts WHERE parent = '{identity}'"  # noqa: S608 - a test
    # Its input and its output stay.
    wait_until(lambda: rows(both[0].database, left)[0][0] == 2)
    assert both[1].over(identity)["status"] == "completed"
