"""`server.metrics`: the page on a port of its own, without a token, from one process or several."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.metrics_page import Measured
from tests.support.ostiary_run import OPEN, command, environment, eventually, running, written
from tests.support.patience import PATIENCE
from tests.support.ports import free_port
from tests.support.serving import Answer

CLOSED = """\
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_listener_answers_for_all_workers_and_the_door_does_not(
    tmp_path: Path, opa_binary: Path, workers: int
) -> None:
    port = free_port()
    text = f"{OPEN}  workers: {workers}\n  metrics: {{port: {port}}}\n{CLOSED}"
    environ = environment(tmp_path, opa_binary) | {"OSTIARY_HOME": str(tmp_path / "home")}
    with running(written(tmp_path, text), environ) as server, httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        token = subprocess.run(
            [*server.process.args[:3], "token", "--subject", "ann"],  # type: ignore[index]
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(20):
            assert (
                httpx.get(f"{server.address}/v1/models", headers=headers, trust_env=False, timeout=PATIENCE).status_code
                == 200
            )
        assert client.get(f"{server.address}/metrics", headers=headers).status_code == 404
        assert client.get(f"{server.address}/metrics").status_code == 401

        def requests() -> float:
            answer = client.get(f"http://127.0.0.1:{port}/metrics")
            page = Measured(Answer(answer.status_code, dict(answer.headers), answer.content))
            return page.value("ostiary_http_requests_total", route="/v1/models", status="200")

        assert eventually(lambda: requests() == 20)


def test_a_taken_port_is_named(tmp_path: Path, opa_binary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f"{OPEN}  port: 0\n  metrics: {{port: {port}}}\n"
        done = subprocess.run(
            command(written(tmp_path, text)),
            env=environment(tmp_path, opa_binary),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 can't be used" in done.stderr
    assert "choose another `server.metrics.port`" in done.stderr
