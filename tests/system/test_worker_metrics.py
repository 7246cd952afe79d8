"""Several workers count together: whichever is asked for `/metrics` answers for all, the dead ones included."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.support.metrics_page import Measured
from tests.support.ostiary_run import OPEN, Running, environment, eventually, running, written
from tests.support.patience import PATIENCE
from tests.support.serving import Answer

TWO = OPEN + "  workers: 2\n"


def page(server: Running) -> Measured:
    """Asked on a connection of its own, so that any worker may take it."""
    answer = httpx.get(f"{server.address}/metrics", trust_env=False, timeout=PATIENCE)
    return Measured(Answer(answer.status_code, dict(answer.headers), answer.content))


def requests(server: Running) -> float:
    return page(server).value("ostiary_http_requests_total", route="/v1/models", status="200")


def test_any_worker_answers_for_all(tmp_path: Path, opa_binary: Path) -> None:
    with running(written(tmp_path, TWO), environment(tmp_path, opa_binary)) as server:
        for _ in range(40):
            assert httpx.get(f"{server.address}/v1/models", trust_env=False, timeout=PATIENCE).status_code == 200
        assert eventually(lambda: requests(server) == 40)
        assert [requests(server) for _ in range(10)] == [40] * 10
        shown = page(server)
        assert shown.value("ostiary_decisions_total", kind="route", effect="permit") >= 50
        assert shown.value("ostiary_policy_revision") == 2
        assert shown.value("ostiary_build_info") == 1
        # Two processes need more than one of them alone could have.
        assert eventually(lambda: page(server).value("process_resident_memory_bytes") > 80_000_000)


def test_what_a_dead_worker_counted_stays_and_what_it_held_is_forgotten(tmp_path: Path, opa_binary: Path) -> None:
    with running(written(tmp_path, TWO), environment(tmp_path, opa_binary)) as server:
        for _ in range(20):
            httpx.get(f"{server.address}/v1/models", trust_env=False, timeout=PATIENCE)
        assert eventually(lambda: requests(server) == 20)
        before = server.workers
        assert eventually(lambda: all(shown_by(tmp_path, pid) for pid in before))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: len(set(server.workers) - set(before)) == 2)
        assert eventually(
            lambda: httpx.get(f"{server.address}/v1/health", trust_env=False, timeout=PATIENCE).status_code == 200
        )
        assert requests(server) == 20
        assert not any(shown_by(tmp_path, pid) for pid in before)


def shown_by(folder: Path, pid: int) -> list[Path]:
    """Where a process shows its state."""
    return list(folder.glob(f"run/*/metrics/gauge_live*_{pid}.db"))
