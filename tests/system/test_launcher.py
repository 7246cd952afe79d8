"""`ostiary run` as an operator meets it: what it says when it can't start, and that nothing is left when it ends."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.ostiary_run import OPEN, command, environment, eventually, gone, refusal, running, written
from tests.support.patience import PATIENCE, START
from tests.support.ports import free_port

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
    return environment(tmp_path, opa_binary)


def test_every_mistake_is_shown_at_once_with_its_place(tmp_path: Path, environ: dict[str, str]) -> None:
    text = OPEN.replace("version: 2", "version: 2\nmodel: 1").replace("server:", "server:\n  prot: 1")
    text += "  auth:\n    access_policy:\n      - permit: {actions: [reed]}\n"
    said = refusal(written(tmp_path, text), environ)
    for place in ("config.yaml:2:1", "config.yaml:10:3", "config.yaml:14:"):
        assert place in said
    assert not (tmp_path / "decisions.jsonl").exists()


def test_a_check_finds_what_a_start_would(tmp_path: Path, environ: dict[str, str]) -> None:
    text = (
        OPEN.replace("server:", "server:\n  prot: 1")
        + "  auth:\n    access_policy:\n      - permit: {actions: [reed]}\n"
    )
    config = written(tmp_path, text)
    assert refusal(config, environ, "--check") == refusal(config, environ)


def test_a_check_of_a_good_file_starts_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    config = written(tmp_path, OPEN)
    done = subprocess.run(
        command(config, "--check"), env=environ, capture_output=True, text=True, timeout=START, check=False
    )
    assert done.returncode == 0
    assert done.stderr.startswith("warning: AUTHENTICATION IS OFF")
    assert done.stderr.count("\n") == 1
    assert re.fullmatch(rf"{config} can be served, with the policies of revision [0-9a-f]{{16}}\n", done.stdout)
    assert [*(tmp_path / "run").iterdir()] == []
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


def test_an_opa_that_is_too_old_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    old = tmp_path / "opa"
    old.write_text("#!/bin/sh\necho 'Version: 1.21.4'\n")
    old.chmod(0o700)
    said = refusal(written(tmp_path, OPEN), {**environ, "OSTIARY_OPA": str(old)})
    assert said == f"error: OSTIARY_OPA is `{old}`, which is not OPA 1.22.2 or newer\n"


def test_a_directory_that_is_not_private_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    directory = tmp_path / "run" / f"ostiary-{os.geteuid()}-{port}"
    config = written(tmp_path, OPEN)
    directory.mkdir()
    directory.chmod(0o777)
    assert refusal(config, environ, "--port", str(port)) == (
        f"error: `{directory}` can be written by others; run `chmod 700` on it or choose another directory\n"
    )
    if os.geteuid() == 0:
        directory.chmod(0o700)
        os.chown(directory, 65534, 65534)
        sentence = f"error: `{directory}` belongs to another user; choose a directory of your own\n"
        assert refusal(config, environ, "--port", str(port)) == sentence
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert refusal(config, environ, "--port", str(port)) == (
        f"error: `{directory}` is not a directory; remove it or choose another directory\n"
    )


def test_a_decision_log_that_cannot_be_written_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "file").touch()
    said = refusal(written(tmp_path, OPEN.replace("LOG", str(tmp_path / "file" / "log"))), environ, "--port", "0")
    assert said.splitlines()[-1].startswith(f"error: the decision log `{tmp_path}/file/log` can't be written: ")
    assert said.endswith("; choose another `server.decision_log`\n")


def test_a_development_key_that_cannot_be_made_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "home").touch()
    home = {**environ, "AUTH_PROVIDER": "1", "OSTIARY_HOME": str(tmp_path / "home")}
    said = refusal(written(tmp_path, OPEN + AUTH), home, "--port", "0")
    assert said.splitlines()[-1].startswith(f"error: the key `{tmp_path}/home/development-key.pem` can't be used")


def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    text = OPEN + f"  tls_certfile: {tmp_path}/x.pem\n  tls_keyfile: {tmp_path}/x.pem\n"
    said = refusal(written(tmp_path, text), environ, "--port", "0")
    assert said.splitlines()[-1] == f"error: `{tmp_path}/x.pem` holds no certificate as PEM that can be used"


def test_without_authentication_the_banner_is_loud_and_everything_answers(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with running(written(tmp_path, OPEN + AUTH), environ) as server:
        assert "AUTHENTICATION IS OFF" in server.banner
        assert httpx.get(f"{server.address}/v1/models", timeout=PATIENCE).json()["data"][0]["id"] == "echo/m"
        assert httpx.get(f"{server.address}/v1/health/ready", timeout=PATIENCE).json()["authentication"] == "off"


def test_with_the_variable_set_the_same_file_asks_for_tokens(tmp_path: Path, environ: dict[str, str]) -> None:
    home = {**environ, "AUTH_PROVIDER": "1", "OSTIARY_HOME": str(tmp_path / "home")}
    with running(written(tmp_path, OPEN + AUTH), home) as server:
        assert "AUTHENTICATION IS OFF" not in server.banner
        assert httpx.get(f"{server.address}/v1/models", timeout=PATIENCE).status_code == 401
        made = subprocess.run(
            [sys.executable, "-m", "server.cli.main", "token", "--subject", "ann"],
            env=home,
            capture_output=True,
            text=True,
            check=True,
        )
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(f"{server.address}/v1/models", headers=headers, timeout=PATIENCE).status_code == 200
        assert (
            httpx.get(f"{server.address}/v1/health/ready", headers=headers, timeout=PATIENCE).json()["authentication"]
            == "configured"
        )
        log = (tmp_path / "decisions.jsonl").read_text()
        assert made.stdout.strip() not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_server_and_opa(tmp_path: Path, environ: dict[str, str], number: signal.Signals) -> None:
    with running(written(tmp_path, OPEN), environ) as server:
        opa = server.opa
        server.signal(number)
        assert server.process.wait(timeout=PATIENCE) == 0
        assert gone([opa])


def test_a_killed_server_leaves_no_opa_and_the_next_one_starts(tmp_path: Path, environ: dict[str, str]) -> None:
    config = written(tmp_path, OPEN)
    with running(config, environ) as server:
        opa = server.opa
        server.signal(signal.SIGKILL)
        assert gone([opa])
    with running(config, environ) as server:
        assert httpx.get(f"{server.address}/v1/health", timeout=PATIENCE).status_code == 200


def test_a_killed_opa_is_503_and_then_service_again(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, OPEN), environ) as server:
        os.kill(server.opa, signal.SIGKILL)
        answers = [httpx.get(f"{server.address}/v1/models", timeout=PATIENCE)]

        def back() -> bool:
            answers.append(httpx.get(f"{server.address}/v1/models", timeout=PATIENCE))
            return answers[-1].status_code == 200

        assert eventually(back)
    assert {answer.status_code for answer in answers} <= {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "policy_unavailable"


def test_the_server_opens_as_many_files_as_the_system_grants(tmp_path: Path, environ: dict[str, str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with running(written(tmp_path, OPEN), environ) as server:
            limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == line.split()[4] == str(hard)
