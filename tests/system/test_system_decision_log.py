"""The decision log of a real server: what a kill leaves of it, what a full disk does to it, and its tokens."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_opa_elsewhere import ELSEWHERE, compile_bundle, opa_at

from tests.support.ostiary_run import OPEN, Running, environment, eventually, gone, running, written
from tests.support.patience import PATIENCE
from tests.support.ports import free_port

ROTATED = OPEN.replace("decision_log: LOG", "decision_log: {path: LOG, rotate_at: 64KiB, keep: 1000}")


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return environment(tmp_path, opa_binary)


def records(folder: Path) -> list[dict[str, Any]]:
    """Every line of the log and of the rotated ones that is whole."""
    found = []
    for path in folder.glob("decisions.jsonl*"):
        if ".journal-" not in path.name:
            for line in path.read_bytes().splitlines():
                try:
                    found.append(json.loads(line))
                except ValueError:
                    assert b'"milliseconds":' not in line[:-1]  # the piece at which a process was killed
    return found


def load(server: Running, answered: list[str], stop: threading.Event) -> threading.Thread:
    """Ask until the server is gone, and note the id of each request that was answered."""

    def ask() -> None:
        with httpx.Client(base_url=server.address, timeout=PATIENCE) as client:
            while not stop.is_set():
                try:
                    answered.append(client.get("/v1/models").headers["x-request-id"])
                except httpx.TransportError:
                    if server.process.poll() is not None:
                        return

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_every_request_that_a_killed_server_answered_is_in_the_log_once(
    tmp_path: Path, environ: dict[str, str], options: tuple[str, ...]
) -> None:
    config, answered = written(tmp_path, ROTATED), list[str]()
    for life in range(3):
        with running(config, environ, *options) as server:
            stop = threading.Event()
            loads = [load(server, answered, stop) for _ in range(4)]
            wanted = len(answered) + 100 + 73 * life
            assert eventually(partial(lambda count: len(answered) > count, wanted))
            family = [*server.workers, server.process.pid]
            os.kill(family[0], signal.SIGKILL)
            server.signal(signal.SIGKILL)
            assert gone(family)
            stop.set()
            for thread in loads:
                thread.join(PATIENCE)
    with running(config, environ, *options) as server:
        server.signal(signal.SIGTERM)
        assert eventually(lambda: server.process.poll() is not None)
    lines = records(tmp_path)
    assert {record["request_id"] for record in lines} >= {*answered}
    parts = Counter((record["request_id"], record.get("route"), record.get("resource")) for record in lines)
    assert set(parts.values()) == {1}
    assert len(list(tmp_path.glob("decisions.jsonl.*"))) > 1
    assert options or not list(tmp_path.glob("*.journal-*"))  # a worker that is ended in its first moments leaves one


def test_a_full_disk_is_503_and_then_service_again_without_a_torn_line(tmp_path: Path, environ: dict[str, str]) -> None:
    log = tmp_path / "decisions.jsonl"
    with running(written(tmp_path, OPEN), environ) as server:
        first = httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)
        assert eventually(lambda: len(records(tmp_path)) == 2)
        # No file of the server's may grow beyond this: a disk that is full in the middle of a line.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 100, resource.RLIM_INFINITY))
        answers = [first]
        assert eventually(
            lambda: answers.append(httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)) or answers[-1].is_error
        )
        assert answers[-1].status_code == 503
        assert answers[-1].json()["error"]["code"] == "policy_unavailable"
        assert answers[-1].headers["retry-after"]
        assert server.has_said("the decision log can't be written: File too large")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert eventually(
            lambda: answers.append(httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)) or answers[-1].is_success
        )
        assert server.has_said("the decision log is written again")
        page = httpx.get(f"{server.address}/metrics", timeout=PATIENCE).text
        (failures,) = [
            line.split()[-1]
            for line in page.splitlines()
            if line.startswith("ostiary_decision_log_write_failures_total")
        ]
        assert float(failures) >= 1
        server.signal(signal.SIGTERM)
        assert eventually(lambda: server.process.poll() is not None)
    permitted = {answer.headers["x-request-id"] for answer in answers if answer.is_success}
    assert {json.loads(line)["request_id"] for line in log.read_text().splitlines()} >= permitted


def test_the_log_goes_to_standard_output_unless_told_otherwise(tmp_path: Path, environ: dict[str, str]) -> None:
    config = written(tmp_path, OPEN.replace("server:\n  decision_log: LOG\n", ""))
    command = [sys.executable, "-m", "server.cli.main", "run", str(config), "--port", str(free_port())]
    with (tmp_path / "stderr").open("wb") as stderr:
        server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=stderr)
    try:
        assert eventually(lambda: "Try in another" in (tmp_path / "stderr").read_text())
        address = next(
            line.split()[-1] for line in (tmp_path / "stderr").read_text().splitlines() if " serves on" in line
        )
        answer = httpx.get(f"{address}/v1/version", timeout=PATIENCE)
        assert server.stdout is not None
        record = json.loads(server.stdout.readline())
        assert record["request_id"] == answer.headers["x-request-id"]
        server.send_signal(signal.SIGTERM)
        assert server.stdout.read() == b""
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


def test_without_its_setting_opa_logs_no_decision(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, OPEN), environ) as server:
        httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)
        assert eventually(lambda: len(records(tmp_path)) == 2)
        assert "Decision Log" not in server.banner


def test_the_token_of_an_opa_elsewhere_is_written_nowhere(
    tmp_path: Path, opa_binary: Path, environ: dict[str, str]
) -> None:
    token, port = "canary-token-of-the-server-at-its-opa", free_port()
    settings = {**environ, "OPA_TOKEN": token}
    config = written(tmp_path, ELSEWHERE.replace("PORT", str(port)))
    compile_bundle(config, settings)
    with running(config, settings) as server:
        url = f"{server.address}/v1/models"
        answers = [httpx.get(url, timeout=PATIENCE)]
        with opa_at(port, opa_binary, tmp_path, token):
            assert eventually(lambda: answers.append(httpx.get(url, timeout=PATIENCE)) or answers[-1].is_success)
        answers.append(httpx.get(url, timeout=PATIENCE))
        with opa_at(port, opa_binary, tmp_path, "another-token-that-is-long-enough-for-the-lock"):
            assert eventually(
                lambda: (
                    answers.append(httpx.get(url, timeout=PATIENCE))
                    or "status 4" in (tmp_path / "decisions.jsonl").read_text()
                )
            )
    assert {answer.status_code for answer in answers} == {200, 503}
    assert not any(token in f"{answer.headers}{answer.text}" for answer in answers)
    assert token not in server.banner
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert holders == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_readiness_blames_a_full_disk_and_not_the_policy_engine(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, OPEN.replace("LOG", "/dev/full")), environ) as server:

        def report() -> dict[str, Any]:
            answer = httpx.get(f"{server.address}/v1/health/ready", trust_env=False, timeout=PATIENCE)
            return dict(answer.json(), code=answer.status_code)

        assert eventually(lambda: report()["code"] == 503)
        first = report()
        time.sleep(1.1)
        second = report()
        for said in (first, second):
            assert (said["code"], said["status"]) == (503, "unavailable")
            assert said["policy"]["reason"] == "the decision log can't be written"
            states = {name: each["state"] for name, each in said["dependencies"].items()}
            assert (states["policy"], states["decision_log"]) == ("ok", "down")
        since = [said["dependencies"]["decision_log"]["since"] for said in (first, second)]
        assert since[0] == since[1]
