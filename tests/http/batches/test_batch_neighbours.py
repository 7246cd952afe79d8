"""Batches whose lines take long, or whose results can't be written down, keep no other caller waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from server.api.batches import lines as batch_lines
from server.api.batches.journal import Journal
from server.api.batches.results import Result
from tests.http.batches.test_batch_settings import configured
from tests.support import batches_server
from tests.support.batches_server import BATCHES, batching, chat, written
from tests.support.callers import ALICE, BOB, bearer
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider


@pytest.fixture
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


def test_slow_batches_of_four_callers_keep_no_fifth_waiting(
    far: LineProvider, opa_binary: Path, tmp_path: Path
) -> None:
    with batching(opa_binary, tmp_path, None, far.url) as place:
        slow = []
        for name in ("flo", "jim", "kit", "lou"):
            file = place.file(written([chat(f"l{number}", "hold") for number in range(40)]), bearer(name))
            slow += [(bearer(name), str(place.create(file, caller=bearer(name)).json["id"])) for _ in range(4)]
        for caller, batch in slow:
            place.until(batch, lambda shown: shown["status"] == "in_progress", caller)
        good, bad = place.results(place.over(place.begun([chat(f"l{number}") for number in range(5)])))
        assert (len(good), bad) == (5, {})
        for caller, batch in slow:
            place.ask("POST", f"{BATCHES}/{batch}/cancel", caller=caller)
        far.go_on.set()


def test_slow_batches_of_many_callers_keep_no_other_waiting(
    far: LineProvider, opa_binary: Path, tmp_path: Path
) -> None:
    with batching(opa_binary, tmp_path, None, far.url) as place:
        for number in range(50):
            place.begun([chat(f"l{each}", "hold") for each in range(2)], bearer(f"slow{number}"))
        wait_until(lambda: len(far.asked) >= 50)
        began = time.monotonic()
        good, bad = place.results(place.over(place.begun([chat(f"l{number}") for number in range(5)]), seconds=10))
        assert (len(good), bad) == (5, {})
        assert time.monotonic() - began < 5
        far.go_on.set()


def test_batches_that_make_room_are_not_counted(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_server, "CONFIG", configured("max_concurrent_batches", 1))
    monkeypatch.setattr("server.api.batches.worker.SLICE_SECONDS", 0.0)
    with batching(opa_binary, tmp_path, None, far.url) as place:
        for caller in (ALICE, BOB):
            place.begun([chat("a", "hold")], caller)
        wait_until(lambda: far.asked == ["hold", "hold"])
        third = bearer("cleo")
        place.over(place.begun([chat("a")], third), third)
        far.go_on.set()


def test_large_results_wait_for_the_database_within_the_turns_of_their_caller(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, write = threading.Event(), Journal.write

    async def slow(self: Journal, results: Sequence[Result], *more: Any) -> int:
        while results and not may_write.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return await write(self, results, *more)

    monkeypatch.setattr(Journal, "write", slow)
    text = "x" * (batch_lines.HEAVY + 1)
    with batching(opa_binary, tmp_path, None, far.url) as place:
        batches = [place.begun([chat(f"l{number}", text) for number in range(16)]) for _ in range(3)]
        for batch in batches:
            place.until(batch, lambda shown: shown["status"] == "in_progress")
        wait_until(lambda: len(far.asked) == 16)
        time.sleep(0.5)
        # The turns are those of the first lines, though these have their answers.
        assert len(far.asked) == 16
        may_write.set()
        for batch in batches:
            assert len(place.results(place.over(batch))[0]) == 16
        assert len(far.asked) == 48
