"""What workers have traced reaches the collector, also what they held when they were told to end."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.support.ostiary_run import OPEN, environment, running, written
from tests.support.otlp_collector import collector
from tests.support.patience import PATIENCE


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_the_server_loses_no_span(tmp_path: Path, opa_binary: Path, workers: int) -> None:
    with collector() as spans:
        text = f"{OPEN}  tracing: {{endpoint: '{spans.url}', service_name: the-door}}\n"
        options = ("--workers", str(workers))
        with running(written(tmp_path, text), environment(tmp_path, opa_binary), *options) as server:
            for _ in range(10):
                assert httpx.get(f"{server.address}/v1/version", trust_env=False, timeout=PATIENCE).status_code == 200
            server.signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0
            assert "Traceback" not in server.banner
        received = spans.until(20)
    assert sorted(span.name for span in received) == ["GET /v1/version"] * 10 + ["policy decision"] * 10
    assert {span.resource["service.name"] for span in received} == {"the-door"}
    assert len({span.trace_id for span in received}) == 10
