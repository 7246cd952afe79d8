"""A server opens its indexes of vectors beside its start, and refuses what it can't serve."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.ostiary_run import environment, eventually, running, written
from tests.support.patience import PATIENCE

CONFIG = """\
version: 2
apis: [inference, vector_io]
providers:
  inference:
  - {provider_id: echo, provider_type: inline::echo}
  vector_io:
  - {provider_id: near, provider_type: inline::TYPE}
server:
  port: 0
  decision_log: LOG
"""
WITHOUT = "import sys; sys.modules['faiss'] = None; from server.cli.main import main; main()"


@pytest.mark.alone
def test_health_answers_at_once_and_the_index_is_ready_later(opa_binary: Path, tmp_path: Path) -> None:
    config = written(tmp_path, CONFIG.replace("TYPE", "lancedb"))
    with (
        running(config, environment(tmp_path, opa_binary)) as server,
        httpx.Client(base_url=server.address, timeout=PATIENCE) as client,
    ):
        began = time.monotonic()
        assert client.get("/v1/health").status_code == 200
        assert time.monotonic() - began < 1.0

        def health() -> dict[str, str]:
            [provider] = [one for one in client.get("/v1/providers").json()["data"] if one["api"] == "vector_io"]
            assert provider["provider_id"] == "near"
            return dict(provider["health"])

        starting = {"status": "Error", "message": "the vector index is starting; try again in a moment"}
        ready = {"status": "OK", "message": ""}
        assert health() in (starting, ready)
        assert eventually(lambda: health() == ready)

        def state() -> object:
            return client.get("/v1/health/ready").json()["dependencies"]["vectors:near"]["state"]

        assert eventually(lambda: state() == "ok")


@pytest.mark.parametrize("options", [["--check"], []])
def test_without_its_extra_faiss_is_refused_by_name(options: list[str], tmp_path: Path) -> None:
    config = written(tmp_path, CONFIG.replace("TYPE", "faiss"))
    done = subprocess.run([sys.executable, "-c", WITHOUT, "run", str(config), *options], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"{config}:7:40: " in done.stderr
    assert "the extra `faiss`, which is not installed" in done.stderr
