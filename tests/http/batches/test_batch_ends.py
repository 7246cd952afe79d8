"""Batches that are cancelled, whose window ends, or whose file goes: every line has one result all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.storage.blobs import directory
from tests.support.batches_server import BATCHES, Batching, batching, chat, written
from tests.support.callers import ADMIN, ALICE, OWN, bearer
from tests.support.databases import rows
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider

POLICY = """\
        - forbid: {actions: [create], resource: "sql_record::openai_files"}
          when: user with fileless in roles
        - permit: {actions: [read, update], resource: "batch::*"}
          when: user with admin in roles
"""


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Batching]:
    folder = tmp_path_factory.mktemp("batch_ends")
    with batching(opa_binary, folder, postgres, far.url, policy=POLICY + OWN) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> Iterator[None]:
    far.forget()
    yield
    far.go_on.set()


def held(place: Batching, far: LineProvider, ready: int = 8, waiting: int = 10, rest: int = 7) -> str:
    """A batch of which some lines are done, and as many as wait are under way."""
    lines = [chat(f"ready-{number}", f"ready {number}") for number in range(ready)]
    lines += [chat(f"held-{number}", f"hold {number}") for number in range(waiting)]
    lines += [chat(f"rest-{number}", f"hold rest {number}") for number in range(rest)]
    batch = place.begun(lines)
    place.until(
        batch, lambda shown: shown["request_counts"]["completed"] == ready and len(far.asked) >= ready + waiting
    )
    return batch


def end_window(place: Batching, batch: str) -> None:
    """As if the window of a batch were over."""
    found = place.get(batch)["expires_at"]
    place_of = f"replace(body, '\"expires_at\":{found}', '\"expires_at\":{found - 24 * 3600}')"
    rows(place.database, f"UPDATE batches SET body = {place_of}, version = version + 1 WHERE id = '{batch}'")  # noqa: S608 - the test's own


@pytest.mark.parametrize("caller", [ALICE, ADMIN])
def test_no_line_vanishes_when_a_batch_is_cancelled(place: Batching, far: LineProvider, caller: str) -> None:
    batch = held(place, far)
    answer = place.ask("POST", f"{BATCHES}/{batch}/cancel", caller=caller)
    assert (answer.status, answer.json["status"]) == (200, "cancelling")
    assert place.ask("POST", f"{BATCHES}/{batch}/cancel", caller=caller).json["status"] == "cancelling"
    under_way = [*far.asked]
    far.go_on.set()
    done = place.over(batch)
    good, bad = place.results(done)
    assert (done["status"], done["request_counts"]["total"]) == ("cancelled", 25)
    assert done["cancelled_at"] >= done["cancelling_at"] >= done["created_at"]
    # What was under way came to its end; what was not begun is not begun.
    assert far.asked == under_way
    assert len(good) == len(far.asked)
    assert {line["error"]["code"] for line in bad.values()} == {"batch_cancelled"}
    assert {str(line["response"]) for line in bad.values()} == {"None"}
    # The files are the owner's, also where another caller has cancelled the batch.
    assert place.ask("GET", f"/v1/files/{done['output_file_id']}", caller=ADMIN).status == 404
    again = place.ask("POST", f"{BATCHES}/{batch}/cancel")
    assert (again.status, again.json) == (200, done)


def test_what_is_over_is_not_cancelled(place: Batching) -> None:
    batch = place.begun([chat("a")])
    done = place.over(batch)
    answer = place.ask("POST", f"{BATCHES}/{batch}/cancel")
    assert (answer.status, answer.error["code"]) == (400, "batch_over")
    assert place.get(batch) == done


def test_an_expired_batch_has_what_was_finished(place: Batching, far: LineProvider, monkeypatch: Any) -> None:
    monkeypatch.setattr("server.api.batches.running.LAST_SECONDS", 0.1)
    batch = held(place, far, ready=1, waiting=9, rest=0)
    end_window(place, batch)
    done = place.over(batch)
    good, bad = place.results(done)
    assert (done["status"], done["request_counts"]) == ("expired", {"total": 10, "completed": 1, "failed": 9})
    assert done["expired_at"] >= done["expires_at"]
    assert [*good] == ["ready-0"]
    assert {line["error"]["code"] for line in bad.values()} == {"batch_expired"}
    assert (done["failed_at"], done["completed_at"]) == (None, None)


def test_lines_under_way_may_come_to_their_end_after_the_window(place: Batching, far: LineProvider) -> None:
    batch = held(place, far, ready=1, waiting=3, rest=0)
    end_window(place, batch)
    place.until(batch, lambda shown: shown["expires_at"] < shown["created_at"] + 3600)
    far.go_on.set()
    good, bad = place.results(place.over(batch))
    assert (len(good), bad) == (4, {})


def test_a_file_that_is_deleted_meanwhile_ends_the_lines_that_were_not_begun(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.batches.input_file.KNOWN_SECONDS", 0.0)
    batch = held(place, far, rest=20)
    wait_until(lambda: len(far.asked) == 24)
    file = place.get(batch)["input_file_id"]
    place.ask("DELETE", f"/v1/files/{file}")
    far.go_on.set()
    done = place.over(batch)
    good, bad = place.results(done)
    assert (done["status"], len(good), len(bad), len(far.asked)) == ("completed", 24, 14, 24)
    for each in bad.values():
        assert each["response"]["status_code"] == 404
        assert each["response"]["body"]["error"]["param"] == "input_file_id"


def test_a_file_that_is_gone_before_it_is_read_fails_the_batch(place: Batching, far: LineProvider) -> None:
    blocked = [held(place, far, ready=0, waiting=3, rest=0) for _ in range(4)]
    file = place.file(written([chat("a")]))
    batch = place.create(file).json["id"]
    place.ask("DELETE", f"/v1/files/{file}")
    far.go_on.set()
    done = place.over(batch)
    assert (done["status"], done["errors"]["data"][0]["param"]) == ("failed", "input_file_id")
    for each in blocked:
        place.over(each)


def test_what_waits_is_cancelled_before_it_begins(place: Batching, far: LineProvider) -> None:
    blocked = [held(place, far, ready=0, waiting=3, rest=0) for _ in range(4)]
    batch = place.begun([chat("never", "never said")])
    assert place.ask("POST", f"{BATCHES}/{batch}/cancel").json["status"] == "cancelling"
    far.go_on.set()
    done = place.over(batch)
    assert (done["status"], done["output_file_id"], done["error_file_id"]) == ("cancelled", None, None)
    assert "never said" not in far.asked
    for each in blocked:
        place.over(each)


def test_a_lease_that_has_run_out_is_renewed_where_no_other_process_has_it(place: Batching, far: LineProvider) -> None:
    batch = held(place, far, ready=0, waiting=4, rest=0)
    rows(place.database, "UPDATE batches_work SET expires_at = 0")
    # The next batch has the worker look for work.
    other = place.begun([chat("a")])
    place.over(other)
    far.go_on.set()
    good, bad = place.results(place.over(batch))
    assert (len(good), bad, far.asked.count("hold 0")) == (4, {}, 1)


def test_a_full_disk_puts_the_files_off(place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.api.batches.work.LONGEST_PAUSE", 1.0)
    batch = held(place, far, ready=2, waiting=2, rest=0)
    with monkeypatch.context() as patch:
        patch.setattr(directory, "SPARED", 2**60)
        patch.setattr(directory, "SPARED_SHARE", 1)
        far.go_on.set()
        place.until(batch, lambda shown: shown["status"] == "finalizing")
        wait_until(lambda: '"is_paused":true' in str(rows(place.database, "SELECT body FROM batches_work")))
        assert place.get(batch)["output_file_id"] is None
    good, bad = place.results(place.over(batch))
    assert (len(good), bad, len(far.asked)) == (4, {}, 4)


def test_files_wait_for_leave_to_create_them(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.batches.work.LONGEST_PAUSE", 1.0)
    batch = held(place, far, ready=1, waiting=1, rest=0)
    place.ask("GET", "/v1/models", caller=bearer("alice+fileless"))
    far.go_on.set()
    place.until(batch, lambda shown: shown["status"] == "finalizing", ADMIN)
    wait_until(lambda: '"is_paused":true' in str(rows(place.database, "SELECT body FROM batches_work")))
    assert place.get(batch, ADMIN)["output_file_id"] is None
    # The owner is back, as it was.
    good, bad = place.results(place.over(batch))
    assert (len(good), bad, len(far.asked)) == (2, {}, 2)
