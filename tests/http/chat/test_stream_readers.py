"""Clients that read slowly, or never, or go: who waits for them, for how long, and what they may cost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from json import dumps
from pathlib import Path
from statistics import median

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.models.model import Model
from server.http import protocol
from server.http.responses import SLICE, send_piece
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.application import house
from tests.support.failing_provider import Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.scripted_provider import CHUNKED, Script, Scripted, framed, scripted, sending_all_but_the_end, spoken
from tests.support.serving import Address, parsed, serving
from tests.support.stream_client import CHAT, Client
from tests.support.stream_client import body as chat_body

PROMPT = "prompt-canary"


class Watched:
    """An application whose event loop can be looked at from outside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await self._app(scope, receive, send)

    def tasks(self) -> int:
        """How many there are now."""
        counted: list[int] = []
        done = threading.Event()
        loop = self._loop
        assert loop is not None
        loop.call_soon_threadsafe(lambda: (counted.append(len(asyncio.all_tasks(loop))), done.set()))
        assert done.wait(PATIENCE)
        return counted[0]


WHOLE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds at some time from now on."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def open_files() -> int:
    """Descriptors of this process, in which every server of these tests runs."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def provider() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def address(provider: Scripted) -> Iterator[Address]:
    client = OpenAICompatible("p", f"{provider.url}/v1", None)
    models = (Model("m-here", "p", "m", "llm", {}),)
    with serving(house(models=models, providers={"p": client})) as running:
        yield running


def endless(counted: list[int]) -> Script:
    """A script that sends one event after the other, and counts the bytes that were taken."""
    part = framed(b"".join(spoken("x" * 1000)) * 60)

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        while True:
            counted[0] += connection.send(part)

    return script


def test_a_provider_waits_while_the_client_does_not_read(provider: Scripted, address: Address) -> None:
    sent = [0]
    provider.play(endless(sent))
    with Client(address, "m", buffer=4096) as client:

        def stands_still() -> bool:
            before = sent[0]
            return before > 0 and not provider.left.wait(0.5) and sent[0] == before

        assert eventually(stands_still)
        stuck_at = sent[0]
        # The buffers of four sockets lie in between; what this server holds is next to nothing.
        assert stuck_at < 20_000_000
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        read = 0
        while sent[0] == stuck_at:
            read += len(client.socket.recv(1 << 20))
        assert read > 0
    assert provider.left.wait(PATIENCE)


def test_a_client_that_has_said_all_and_reads_nothing_is_cut_off(
    provider: Scripted, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.3)
    provider.play(endless([0]))
    with Client(address, "m", buffer=4096) as client:
        client.read_until(b"data:")
        client.socket.shutdown(socket.SHUT_WR)
        assert provider.left.wait(PATIENCE)


def whole_completion(size: int) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * size}, "finish_reason": "stop"}
    return dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}).encode()


def test_a_large_completion_arrives_whole(provider: Scripted, address: Address) -> None:
    body = whole_completion(24_000_000)
    head = (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    provider.play(lambda connection: connection.sendall(head + body))
    answer = address.post(CHAT, chat_body("m", stream=False))
    assert answer.body == body.replace(b'"model": "m"', b'"model": "p/m"')
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("size", [0, 1, SLICE, SLICE + 1, 3 * SLICE, 3 * SLICE + 7])
@pytest.mark.parametrize("more", [False, True])
def test_a_large_piece_is_handed_on_in_slices_so_that_its_reader_can_be_timed(size: int, more: bool) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    piece = bytes(range(256)) * (size // 256 + 1)
    asyncio.run(send_piece(send, piece[:size], more=more))
    assert b"".join(message["body"] for message in sent) == piece[:size]
    assert max(len(message["body"]) for message in sent) <= SLICE
    assert [message["more_body"] for message in sent] == [True] * (len(sent) - 1) + [more]


def test_a_large_completion_that_is_not_read_is_cut_off(
    provider: Scripted, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.3)
    body = whole_completion(24_000_000)
    head = (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    provider.play(lambda connection: connection.sendall(head + body))
    before = open_files()
    with Client(address, "m", stream=False, buffer=4096) as client:
        assert provider.left.wait(PATIENCE)
        assert eventually(lambda: open_files() == before + 1)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            received = client.read_to_end()
        assert len(received) < len(body)


@pytest.mark.alone
@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_is_left_at_once_when_the_client_goes(provider: Scripted, address: Address, stream: bool) -> None:
    waited = []
    for _ in range(9):
        sent = [CHUNKED, framed(spoken("first")[0])] if stream else []
        provider.play(sending_all_but_the_end(*sent))
        with Client(address, "m", stream=stream) as client:
            if stream:
                client.read_until(b"first")
            assert provider.arrived.wait(PATIENCE)
            gone_at = time.perf_counter()
            client.socket.close()
            assert provider.left.wait(PATIENCE)
            waited.append(provider.left_at - gone_at)
    # It takes about a millisecond; the provider's own time limit is far away.
    assert median(waited) < 1.0


@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_is_left_at_once_over_tls_too(tmp_path: Path, stream: bool) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    names = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *names], check=True, capture_output=True)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    ours = ssl.create_default_context(cafile=certificate)
    with upstream(theirs) as server:
        client = OpenAICompatible("p", f"{server.url}/v1", None, ours)
        name = "silent" if stream else "sleepy"
        models = (Model(f"{name}-here", "p", name, "llm", {}),)
        with (
            serving(house(models=models, providers={"p": client})) as address,
            Client(address, name, stream=stream) as caller,
        ):
            if stream:
                caller.read_until(b"first")
            assert server.arrived.wait(PATIENCE)
            caller.socket.close()
            assert server.left.wait(PATIENCE)


ABORTED = ("m", "gated", "silent", "dies", "endless-stream", "endless-event", "lingers", "sleepy", "huge", "status-500")


def abort(address: Address, server: Upstream, index: int) -> None:
    """One request that is given up at one of several moments."""
    model = ABORTED[index % len(ABORTED)]
    with Client(address, model, stream=model not in ("sleepy", "huge"), said=PROMPT) as client:
        moment = index // len(ABORTED) % 3
        if moment == 1:
            assert server.arrived.wait(PATIENCE)
        elif moment == 2 and model not in ("sleepy", "huge"):
            client.read_until(b"HTTP/1.1")


def test_two_hundred_aborted_requests_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ostiary")
    with upstream() as server:
        client = OpenAICompatible("p", f"{server.url}/v1", "sk-key-canary", limits=Limits(silence=30))
        models = tuple(Model(f"{name}-here", "p", name, "llm", {}) for name in ABORTED)
        app = Watched(house(models=models, providers={"p": client}))
        with serving(app) as address:
            assert (
                parsed(address.exchange(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).status
                == 200
            )
            assert eventually(lambda: app.tasks() <= 3)
            tasks, files = app.tasks(), open_files()
            for index in range(200):
                server.arrived.clear()
                abort(address, server, index)
            assert eventually(lambda: app.tasks() <= tasks)
            # Connections that may be used again are closed when they have been idle for a while.
            assert eventually(lambda: open_files() <= files)
    ours = [record for record in caplog.records if record.name.startswith(("ostiary", "uvicorn"))]
    assert [record.getMessage() for record in ours if record.levelno >= logging.ERROR] == []
    said = caplog.text
    assert PROMPT not in said
    assert "canary" not in said
