"""kill -9 of OPA, a worker or the server, at random moments under load: nobody is let in, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.ostiary_run import OPEN, Running, environment, eventually, gone, running, written
from tests.support.patience import PATIENCE
from tests.support.ports import free_port

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
KILLS = 60 if NIGHTLY else 2
CLIENTS = 4

CHANCE = random.Random()  # noqa: S311 - chance, not secrets

POLICY = (
    OPEN.replace("  - {model_id: m, provider_id: echo}\n", "".join(
        f"  - {{model_id: {name}, provider_id: echo}}\n" for name in ("open", "secret")
    ))
    + """\
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
    access_policy:
      - permit: {actions: [read], resource: "model::echo/open"}
        when: user with reader in roles
    route_policy:
      - forbid: {paths: /v1/version}
      - permit: {paths: "*"}
        when: user with reader in roles
"""
)  # fmt: skip


def chat(model: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


# What is asked, and what a server that decides at all may answer.
QUESTIONS: dict[str, tuple[str, str, dict[str, object] | None, int]] = {
    "list": ("GET", "/v1/models", None, 200),
    "permitted": ("POST", "/v1/chat/completions", chat("echo/open"), 200),
    "hidden": ("POST", "/v1/chat/completions", chat("echo/secret"), 404),
    "closed": ("GET", "/v1/version", None, 403),
}


class Load:
    """Clients that ask one thing after the other, and what came of it."""

    def __init__(self, address: str, token: str) -> None:
        self.seen: Counter[tuple[str, int | str]] = Counter()
        self.wrong: list[str] = []
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def right(self) -> bool:
        """Whether every question is answered as it should be, now."""
        with (
            httpx.Client(base_url=self._address, headers=self._headers, timeout=10) as client,
            suppress(httpx.TransportError),
        ):
            return all(
                client.request(method, path, json=body).status_code == status
                for method, path, body, status in QUESTIONS.values()
            )
        return False

    def _ask(self) -> None:
        client = httpx.Client(base_url=self._address, headers=self._headers, timeout=10)
        with client:
            while not self._stop.is_set():
                name = CHANCE.choice(list(QUESTIONS))
                method, path, body, status = QUESTIONS[name]
                try:
                    answer = client.request(method, path, json=body)
                except httpx.TransportError:
                    self.seen[name, "broken"] += 1
                    time.sleep(0.01)
                    continue
                self.seen[name, answer.status_code] += 1
                if answer.status_code not in (status, 503):
                    self.wrong.append(f"{name}: {answer.status_code} {answer.text}")
                if name == "list" and answer.status_code == 200:
                    shown = [model["id"] for model in answer.json()["data"]]
                    if shown != ["echo/open"]:
                        self.wrong.append(f"list: {shown}")


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return {**environment(tmp_path, opa_binary), "OSTIARY_HOME": str(tmp_path / "home")}


@pytest.fixture
def token(environ: dict[str, str]) -> str:
    command = [sys.executable, "-m", "server.cli.main", "token", "--subject", "ann", "--role", "reader"]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def opa(server: Running) -> int:
    return server.opa


def some_worker(server: Running) -> int:
    return CHANCE.choice(server.workers)


@pytest.mark.parametrize(
    ("options", "victim"),
    [((), opa), (("--workers", "2"), opa), (("--workers", "2"), some_worker)],
    ids=["opa", "opa of two workers", "a worker"],
)
@pytest.mark.timeout(1800 if NIGHTLY else 120)
def test_opa_or_a_worker_dies_again_and_again(
    tmp_path: Path, environ: dict[str, str], token: str, options: tuple[str, ...], victim: Callable[[Running], int]
) -> None:
    with running(written(tmp_path, POLICY), environ, *options) as server:
        with Load(server.address, token) as load:
            assert eventually(load.right)
            for _ in range(KILLS):
                time.sleep(CHANCE.uniform(0.0, 0.5))  # the moment is to be no event
                killed = victim(server)
                os.kill(killed, signal.SIGKILL)
                assert gone([killed])
                assert eventually(load.right)
                assert eventually(lambda: len(server.workers) == (2 if options else 0))
        assert load.wrong == []
        assert all(load.seen[name, status] for name, (_, _, _, status) in QUESTIONS.items()), load.seen
        everything = [server.opa, *server.workers]
        server.signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert gone(everything)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
@pytest.mark.timeout(1800 if NIGHTLY else 120)
def test_the_server_dies_again_and_again_and_takes_everything_with_it(
    tmp_path: Path, environ: dict[str, str], token: str, options: tuple[str, ...]
) -> None:
    config = written(tmp_path, POLICY)
    fixed = (*options, "--port", str(free_port()))
    for turn in range(KILLS):
        with running(config, environ, *fixed) as server, Load(server.address, token) as load:
            assert eventually(load.right)
            time.sleep(CHANCE.uniform(0.0, 0.5))  # the moment is to be no event
            everything = [server.opa, *server.workers]
            if turn % 2:
                os.kill(server.opa, signal.SIGKILL)  # both, OPA first
            server.signal(signal.SIGKILL)
            assert gone(everything)
            with running(config, environ, *fixed):
                assert eventually(load.right)
        assert load.wrong == []
