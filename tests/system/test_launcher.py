"""`ostiary run` as an operator meets it: what it says when it can't start, and that nothing is left when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

OPEN = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {model_id: m, provider_id: echo}
server:
  decision_log: LOG
"""
AUTH = """\
  auth:
    provider_config:
      type: ${env.AUTH_PROVIDER:+oauth2_token}
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
"""


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    (tmp_path / "run").mkdir(mode=0o700)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OSTIARY_OPA": str(opa_binary),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text.replace("LOG", str(folder / "decisions.jsonl")))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "server.launcher", "run", str(config), *options]


def refusal(config: Path, environ: dict[str, str], *options: str) -> str:
    done = subprocess.run(
        command(config, *options), env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def running(config: Path, environ: dict[str, str]) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """The server's address, its banner and its process."""
    server = subprocess.Popen(command(config, "--port", "0"), env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        banner = ""
        while "Try in another terminal" not in banner:
            line = server.stderr.readline()
            assert line, banner
            banner += line
        address = next(line.split()[-1] for line in banner.splitlines() if " serves on " in line)
        yield address, banner, server
    finally:
        server.kill()
        server.communicate()


def opa_of(server: subprocess.Popen[str]) -> list[int]:
    """The children of the server; there is nothing but OPA among them."""
    processes = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()}
    return [pid for pid, stat in processes.items() if int(stat.rpartition(")")[2].split()[1]) == server.pid]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.02)
    return False


def test_every_mistake_is_shown_at_once_with_its_place(tmp_path: Path, environ: dict[str, str]) -> None:
    text = OPEN.replace("version: 2", "version: 2\nmodel: 1").replace("server:", "server:\n  prot: 1")
    text += "  auth:\n    access_policy:\n      - permit: {actions: [reed]}\n"
    said = refusal(written(tmp_path, text), environ)
    for place in ("config.yaml:2:1", "config.yaml:10:3", "config.yaml:14:"):
        assert place in said
    assert not (tmp_path / "decisions.jsonl").exists()


def test_a_port_in_use_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(written(tmp_path, OPEN), environ, "--port", str(port))
    assert said.splitlines()[-1] == (
        f"error: port {port} of 127.0.0.1 can't be used: Address already in use; choose another `server.port`"
    )


def test_a_missing_opa_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    nowhere = {**environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    del nowhere["OSTIARY_OPA"]
    said = refusal(written(tmp_path, OPEN), nowhere)
    assert said == "error: OPA 1.22.2 or newer isn't on this machine; run `make opa`\n"


def test_an_opa_that_is_none_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    said = refusal(written(tmp_path, OPEN), {**environ, "OSTIARY_OPA": "/bin/true"})
    assert said == "error: OSTIARY_OPA is `/bin/true`, which is not OPA 1.22.2 or newer\n"


def test_a_decision_log_that_cannot_be_written_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "file").touch()
    said = refusal(written(tmp_path, OPEN.replace("LOG", str(tmp_path / "file" / "log"))), environ, "--port", "0")
    assert said.splitlines()[-1].startswith(f"error: `{tmp_path}/file")


def test_a_development_key_that_cannot_be_made_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "home").touch()
    home = {**environ, "AUTH_PROVIDER": "1", "OSTIARY_HOME": str(tmp_path / "home")}
    said = refusal(written(tmp_path, OPEN + AUTH), home, "--port", "0")
    assert said.splitlines()[-1].startswith(f"error: the key `{tmp_path}/home/development-key.pem` can't be used")


def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    text = OPEN + f"  tls_certfile: {tmp_path}/x.pem\n  tls_keyfile: {tmp_path}/x.pem\n"
    said = refusal(written(tmp_path, text), environ, "--port", "0")
    assert said.splitlines()[-1].startswith("error: a certificate or key of the configuration can't be used")


def test_without_authentication_the_banner_is_loud_and_everything_answers(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with running(written(tmp_path, OPEN + AUTH), environ) as (address, banner, _server):
        assert "AUTHENTICATION IS OFF" in banner
        assert httpx.get(f"{address}/v1/models").json()["data"][0]["id"] == "echo/m"
        assert httpx.get(f"{address}/v1/health/ready").json()["authentication"] == "off"


def test_with_the_variable_set_the_same_file_asks_for_tokens(tmp_path: Path, environ: dict[str, str]) -> None:
    home = {**environ, "AUTH_PROVIDER": "1", "OSTIARY_HOME": str(tmp_path / "home")}
    with running(written(tmp_path, OPEN + AUTH), home) as (address, banner, _server):
        assert "AUTHENTICATION IS OFF" not in banner
        assert httpx.get(f"{address}/v1/models").status_code == 401
        made = subprocess.run(
            [sys.executable, "-m", "server.launcher", "token", "--subject", "ann"],
            env=home,
            capture_output=True,
            text=True,
            check=True,
        )
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(f"{address}/v1/models", headers=headers).status_code == 200
        assert httpx.get(f"{address}/v1/health/ready", headers=headers).json()["authentication"] == "configured"
        log = (tmp_path / "decisions.jsonl").read_text()
        assert made.stdout.strip() not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_server_and_opa(tmp_path: Path, environ: dict[str, str], number: signal.Signals) -> None:
    with running(written(tmp_path, OPEN), environ) as (_address, _banner, server):
        children = opa_of(server)
        assert children
        server.send_signal(number)
        assert server.wait(timeout=15) == 0
        assert gone(children)


def test_a_killed_server_leaves_no_opa_and_the_next_one_starts(tmp_path: Path, environ: dict[str, str]) -> None:
    config = written(tmp_path, OPEN)
    with running(config, environ) as (_address, _banner, server):
        children = opa_of(server)
        server.kill()
        assert gone(children)
    with running(config, environ) as (address, _banner, _server):
        assert httpx.get(f"{address}/v1/health").status_code == 200


def test_a_killed_opa_is_503_and_then_service_again(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, OPEN), environ) as (address, _banner, server):
        for pid in opa_of(server):
            os.kill(pid, signal.SIGKILL)
        answers = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (not answers or answers[-1].status_code != 200):
            answers.append(httpx.get(f"{address}/v1/models"))
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert answers[-1].status_code == 200
        for answer in answers[:-1]:
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "policy_unavailable"
