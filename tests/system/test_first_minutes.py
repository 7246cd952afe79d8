"""The first minutes with a server: what it offers to type works, and what was asked is in the log when one looks."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from tests.support.certificate import certificate
from tests.support.ostiary_run import OPEN, command, environment, eventually, running, written
from tests.support.patience import PATIENCE, START

DEVELOPMENT = """\
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
"""
FOREIGN = """\
  auth:
    provider_config:
      type: oauth2_token
      issuer: https://issuer.example
      jwks: {uri: "https://issuer.example/keys"}
"""
KEYS = "  auth: {provider_config: {type: api_key}}\n"
WAYS = {
    "plain": ("", False),
    "development": (DEVELOPMENT, False),
    "keys": (KEYS, False),
    "everywhere": ("  host: 0.0.0.0\n", False),
    "tls": (DEVELOPMENT, True),
    "tls everywhere": ("  host: 0.0.0.0\n" + KEYS, True),
}


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return environment(tmp_path, opa_binary) | {"OSTIARY_HOME": str(tmp_path / "home")}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is what the banner offers")
@pytest.mark.parametrize("way", WAYS)
def test_every_command_that_is_offered_works_in_another_terminal(
    way: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    text, has_tls = WAYS[way]
    text = OPEN + text
    if has_tls:
        pem = certificate(tmp_path)
        text += f"  tls_certfile: {pem}\n  tls_keyfile: {pem}\n"
    with running(written(tmp_path, text), environ) as server:
        assert server.has_said(" policy explain ")
        lines = server.banner.partition("Try in another terminal:\n")[2].splitlines()
        offered = [line.strip() for line in lines if line.startswith("  ")]
        assert len(offered) == (2 if way in ("plain", "everywhere") else 3)
        script = "\n".join(["set -e", *(line.replace("curl ", "curl -sS --fail ", 1) for line in offered)])
        # The other terminal knows where OPA is, since it is on its PATH as a rule, and nothing else.
        other = {name: environ[name] for name in ("PATH", "HOME", "OSTIARY_OPA")}
        if "${env.OSTIARY_HOME}" in text:
            other["OSTIARY_HOME"] = environ["OSTIARY_HOME"]
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=tmp_path,
            env=other,
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )
        assert done.returncode == 0, done.stderr + script
        assert '"id":"echo/m"' in done.stdout
        (inspect,) = re.findall(r"\(try: (.*)\)", server.banner)
        read = subprocess.run(
            ["/bin/bash", "-c", inspect], env={"PATH": environ["PATH"]}, check=False, capture_output=True
        )
        assert read.returncode == 0


def test_no_token_of_ours_is_offered_where_another_issuer_is_believed(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, OPEN + FOREIGN), environ) as server:
        assert server.has_said(" policy explain ")
        assert "ostiary token" not in server.banner
        assert "server.cli.main token" not in server.banner
        assert "read -r TOKEN   # paste a token of https://issuer.example" in server.banner


def test_the_log_has_a_request_when_its_caller_looks(tmp_path: Path, environ: dict[str, str]) -> None:
    """Not one line is missing in most of the looks, each of which comes right behind the answer."""
    log, late = tmp_path / "decisions.jsonl", 0
    with running(written(tmp_path, OPEN), environ) as server, httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        client.get(f"{server.address}/v1/models")
        assert eventually(lambda: "model::*" in log.read_text())
        for _ in range(20):
            assert eventually(lambda: log.read_text().endswith("\n"))
            answer = client.get(f"{server.address}/v1/models")
            done = subprocess.run(["/usr/bin/tail", "-n", "2", log], capture_output=True, text=True, check=True)
            shown = {json.loads(line)["request_id"] for line in done.stdout.splitlines()}
            late += shown != {answer.headers["x-request-id"]}
    assert late <= 2


def test_a_hangup_without_a_certificate_says_so_and_ends_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    for workers in (1, 2):
        with running(written(tmp_path, f"{OPEN}  workers: {workers}\n"), environ) as server:
            server.signal(signal.SIGHUP)
            assert server.has_said("SIGHUP has a certificate read again, and this server has none")
            assert httpx.get(f"{server.address}/v1/models", trust_env=False, timeout=PATIENCE).status_code == 200


def test_the_version_is_told(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli.main", "--version"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ostiary {version('ostiary')}\n", "")


OPEN_METRICS = "  metrics: {host: 0.0.0.0, port: 0}\n"


@pytest.mark.parametrize(
    ("text", "alarms"),
    [
        ("", ["AUTHENTICATION IS OFF"]),
        (OPEN_METRICS, ["AUTHENTICATION IS OFF", "METRICS ARE OPEN"]),
        (KEYS + OPEN_METRICS, ["METRICS ARE OPEN"]),
        (KEYS, []),
    ],
)
def test_a_check_says_what_the_banner_shouts(
    text: str, alarms: list[str], tmp_path: Path, environ: dict[str, str]
) -> None:
    config = written(tmp_path, OPEN + text)

    def checked(*options: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            command(config, "--check", *options),
            env=environ,
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )
        assert done.stdout.endswith("\n")
        return done.returncode, re.findall(r"^warning: ([A-Z ]+):", done.stderr, re.MULTILINE)

    assert checked() == (0, alarms)
    assert checked("--strict") == (1 if alarms else 0, alarms)
    with running(config, environ) as server:
        assert server.has_said("Try in another terminal")
        assert re.findall(r"^  !! ([A-Z]+ [A-Z]+ [A-Z]+):", server.banner, re.MULTILINE) == alarms


def test_strict_without_check_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        command(written(tmp_path, OPEN), "--strict"), env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--strict" in done.stderr
