"""`providers.batches` says how many lines of one batch, and how many batches, a process has under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import batches_server
from tests.support.batches_server import BATCHES, batching, chat
from tests.support.callers import BOB, bearer
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider
from tests.support.patience import PATIENCE

AGENTS = "agents: [{provider_id: builtin, provider_type: inline::builtin}]"
ONE = "{provider_id: reference, provider_type: inline::reference, config: {KEY: NUMBER}}"


@pytest.fixture
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


def configured(key: str, number: int) -> str:
    """The configuration with that setting."""
    provider = ONE.replace("KEY", key).replace("NUMBER", str(number))
    text = batches_server.CONFIG.replace("apis: [inference, agents]", "apis: [inference, agents, batches]")
    assert AGENTS in text
    return text.replace(AGENTS, f"{AGENTS}\n      batches: [{provider}]")


@pytest.mark.parametrize("number", [2, 40])
def test_so_many_lines_of_one_batch_are_under_way(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(batches_server, "CONFIG", configured("max_concurrent_requests_per_batch", number))
    with batching(opa_binary, tmp_path, None, far.url) as place:
        batch = place.begun([chat(str(at), f"hold {at}") for at in range(60)])
        wait_until(lambda: len(far.asked) >= number)
        place.ask("POST", f"{BATCHES}/{batch}/cancel")
        far.go_on.set()
        good, _ = place.results(place.over(batch))
        assert len(far.asked) == len(good) == number


def test_so_many_batches_are_under_way(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_server, "CONFIG", configured("max_concurrent_batches", 1))
    with batching(opa_binary, tmp_path, None, far.url) as place:
        first = place.begun([chat("a", "hold first")])
        wait_until(lambda: far.asked == ["hold first"])
        second = place.begun([chat("a", "second")])
        assert place.get(second)["status"] == "validating"
        far.go_on.set()
        place.over(first)
        assert place.over(second)["status"] == "completed"
        assert far.asked == ["hold first", "second"]


def test_a_batch_whose_lines_hang_is_not_the_only_one_that_makes_room(
    far: LineProvider, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_server, "CONFIG", configured("max_concurrent_batches", 1))
    monkeypatch.setattr("server.api.batches.worker.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("server.api.batches.worker.POLL_SECONDS", 0.1)
    # It is not that a batch makes room for want of a line that can be begun.
    monkeypatch.setattr("server.api.batches.running.PATIENCE_SECONDS", 10 * PATIENCE)
    with batching(opa_binary, tmp_path, None, far.url) as place:
        place.begun([chat("a", "hold")])
        wait_until(lambda: far.asked == ["hold"])
        far.busy = 1000
        other = place.begun([chat("a")], BOB)
        wait_until(lambda: "hi" in far.asked)
        third = place.begun([chat("a", "third")], bearer("cleo"))
        place.until(third, lambda shown: shown["status"] == "in_progress", bearer("cleo"))
        assert place.get(other, BOB)["status"] == "in_progress"
        far.busy = 0
        far.go_on.set()
