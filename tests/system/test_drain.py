"""A server that is told to end: it takes nothing new, finishes what it began, and ends properly."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.failing_provider import Upstream, upstream
from tests.support.ostiary_run import OPEN, Running, environment, eventually, gone, running, written
from tests.support.patience import PATIENCE


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with upstream() as running_one:
        yield running_one


@pytest.fixture(autouse=True)
def fresh(provider: Upstream) -> None:
    provider.forget()


def config(folder: Path, provider: Upstream) -> Path:
    names = ("plain", "gated", "sleepy")
    models = "".join(f"  - {{model_id: {name}, provider_id: up}}\n" for name in names)
    text = OPEN.replace("    - {provider_id: echo, provider_type: inline::echo}\n", (
        f"    - {{provider_id: up, provider_type: remote::openai, config: {{base_url: {provider.url}/v1}}}}\n"
    )).replace("  - {model_id: m, provider_id: echo}\n", models)  # fmt: skip
    return written(folder, text)


@contextmanager
def draining(
    folder: Path, opa: Path, provider: Upstream, *options: str, grace: float = 10 * PATIENCE
) -> Iterator[Running]:
    """A server that grants `grace` to what is under way: longer than any test waits, if the test is about no other."""
    environ = {**environment(folder, opa), "OPENAI_API_KEY": "none"}
    with running(config(folder, provider), environ, *options, grace=grace) as server:
        yield server


def chat(server: Running, model: str, *, stream: bool) -> tuple[str, dict[str, object]]:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return f"{server.address}/v1/chat/completions", body


class Asking(threading.Thread):
    """One chat in a thread of its own; `answer` once it has come, `began` once its first bytes have."""

    def __init__(self, server: Running, model: str, *, stream: bool) -> None:
        super().__init__()
        self.began = threading.Event()
        self.answer: httpx.Response | None = None
        self.text = ""
        self.broken = False
        self._url, self._body = chat(server, model, stream=stream)
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=PATIENCE) as self.answer:
                for text in self.answer.iter_text():
                    self.text += text
                    self.began.set()
        except httpx.TransportError:
            self.broken = True

    def answered(self) -> str:
        self.join(PATIENCE)
        assert not self.is_alive()
        assert self.answer is not None
        return self.text


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_what_is_under_way_finishes_and_nothing_new_begins(
    tmp_path: Path, opa_binary: Path, provider: Upstream, options: tuple[str, ...]
) -> None:
    with draining(tmp_path, opa_binary, provider, *options) as server, httpx.Client(timeout=PATIENCE) as idle:
        assert idle.get(f"{server.address}/v1/health").status_code == 200
        opa, workers = server.opa, server.workers
        asking = Asking(server, "gated", stream=True)
        assert asking.began.wait(PATIENCE)
        server.signal(signal.SIGTERM)

        def refused() -> bool:
            """Asked on a new connection, as a balancer does."""
            try:
                answer = httpx.get(f"{server.address}/v1/health", timeout=PATIENCE)
            except httpx.TransportError:
                return True
            if answer.status_code == 503 and answer.json()["error"]["code"] == "server_ending":
                assert answer.headers["connection"] == "close"
                assert answer.headers["retry-after"] and answer.headers["x-should-retry"] == "true"
                return True
            return False

        assert eventually(refused)
        assert asking.is_alive()
        assert server.process.poll() is None
        provider.go_on.set()
        assert asking.answered().endswith("data: [DONE]\n\n")
        assert server.process.wait(PATIENCE) == 0
        assert gone([opa, *workers])
        assert "Traceback" not in server.banner


def test_an_idle_server_with_an_idle_connection_ends_at_once(
    tmp_path: Path, opa_binary: Path, provider: Upstream
) -> None:
    with draining(tmp_path, opa_binary, provider) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            said = b""
            while not said.endswith(b'{"status":"OK"}'):
                said += connection.recv(4096)
            server.signal(signal.SIGTERM)
            assert connection.recv(4096) == b""
        # Less than the time that this server grants to what is under way.
        assert server.process.wait(PATIENCE) == 0


def test_when_the_time_is_over_an_answer_that_has_not_come_is_a_503(
    tmp_path: Path, opa_binary: Path, provider: Upstream
) -> None:
    with draining(tmp_path, opa_binary, provider, grace=1.0) as server:
        asking = Asking(server, "sleepy", stream=False)
        assert provider.arrived.wait(PATIENCE)
        server.signal(signal.SIGTERM)
        asking.answered()
        assert asking.answer is not None
        assert asking.answer.status_code == 503
        assert asking.answer.headers["x-should-retry"] == "true"
        assert httpx.Response(503, text=asking.text).json()["error"]["code"] == "server_ending"
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in server.banner


def test_when_the_time_is_over_a_stream_says_so_and_ends(tmp_path: Path, opa_binary: Path, provider: Upstream) -> None:
    with draining(tmp_path, opa_binary, provider, grace=1.0) as server:
        asking = Asking(server, "gated", stream=True)
        assert asking.began.wait(PATIENCE)
        server.signal(signal.SIGTERM)
        *_, last, nothing = asking.answered().split("\n\n")
        assert (nothing, asking.broken) == ("", False)
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_ending"
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in server.banner


def test_a_second_signal_ends_at_once(tmp_path: Path, opa_binary: Path, provider: Upstream) -> None:
    with draining(tmp_path, opa_binary, provider) as server:
        opa = server.opa
        asking = Asking(server, "gated", stream=True)
        assert asking.began.wait(PATIENCE)
        server.signal(signal.SIGTERM)

        def ending() -> bool:
            return httpx.get(f"{server.address}/v1/health", timeout=PATIENCE).status_code == 503

        assert eventually(ending)
        server.signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert gone([opa])
        provider.go_on.set()
        assert "[DONE]" not in asking.answered()
        assert asking.broken
