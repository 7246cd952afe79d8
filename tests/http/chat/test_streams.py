"""Streams from a real provider to a raw client: what goes out when, and how every one of them ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from server.api.models.model import Model
from server.http import protocol
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.application import house
from tests.support.failing_provider import ANSWERS, SECRET, STATUSES, TEXT, Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.serving import Address, parsed, serving
from tests.support.stream_client import CHAT, Client, body, events


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Upstream, Address]]:
    with upstream() as server:
        provider = OpenAICompatible("p", f"{server.url}/v1", "sk-key", limits=Limits(silence=1.0))
        names = ("m", *ANSWERS, *STATUSES)
        models = tuple(Model(f"{name}-here", "p", name, "llm", {}) for name in names)
        models += tuple(Model(f"patient-{name}-here", "patient", name, "llm", {}) for name in ("silent", "sleepy"))
        patient = OpenAICompatible("patient", f"{server.url}/v1", "sk-key", limits=Limits(silence=10 * PATIENCE))
        with serving(house(models=models, providers={"p": provider, "patient": patient})) as address:
            yield server, address


@pytest.fixture
def server(running: tuple[Upstream, Address]) -> Upstream:
    running[0].forget()
    return running[0]


@pytest.fixture
def address(running: tuple[Upstream, Address]) -> Address:
    return running[1]


def test_a_stream_has_the_head_and_the_events_of_one(address: Address, server: Upstream) -> None:
    answer = address.post(CHAT, body("m"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    *chunks, done = events(answer.body)
    assert done is None
    assert {chunk["model"] for chunk in chunks} == {"p/m"}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(TEXT)
    # What it has cost is asked for, whether or not the caller asks.
    assert server.body == {**body("m"), "model": "m", "stream_options": {"include_usage": True}}


def test_a_chunk_reaches_the_client_before_the_provider_has_the_next_one(address: Address, server: Upstream) -> None:
    with Client(address, "gated") as client:
        assert b"second" not in client.read_until(b"first")
        server.go_on.set()
        assert client.read_until(b"0\r\n\r\n").endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("model", ["dies", "stops", "garbage", "errs", "silent"])
def test_a_provider_that_breaks_off_ends_the_stream_with_an_error(
    address: Address, server: Upstream, model: str
) -> None:
    answer = address.post(CHAT, body(model))
    assert answer.status == 200
    *chunks, last = events(answer.body)
    assert last.keys() == {"error"}
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "server_error")
    assert all("choices" in chunk for chunk in chunks)
    assert SECRET not in answer.body.decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-400", 400, "invalid_value"),
        ("status-401", 502, "server_error"),
        ("status-404", 502, "server_error"),
        ("status-429", 429, "rate_limit_exceeded"),
        ("status-500", 502, "server_error"),
        ("redirect-301", 502, "server_error"),
        ("endless-event", 502, "server_error"),
        ("redirect-302", 502, "server_error"),
        ("redirect-303", 502, "server_error"),
        ("redirect-307", 502, "server_error"),
        ("redirect-308", 502, "server_error"),
        ("html", 502, "server_error"),
        ("sleepy", 502, "server_error"),
    ],
)
def test_a_provider_that_refuses_is_a_status_and_never_half_a_stream(
    address: Address, server: Upstream, model: str, status: int, code: str, stream: bool
) -> None:
    answer = address.post(CHAT, body(model, stream=stream))
    assert (answer.status, answer.error["code"]) == (status, code)
    assert SECRET not in answer.body.decode()
    assert "sk-key" not in answer.body.decode()


def test_a_provider_that_is_busy_says_when_to_come_back(address: Address, server: Upstream) -> None:
    answer = address.post(CHAT, body("status-429"))
    assert (answer.headers["retry-after"], answer.error["type"]) == ("7", "rate_limit_error")
    assert "x-should-retry" not in answer.headers


def test_an_empty_account_is_not_worth_a_retry(address: Address, server: Upstream) -> None:
    answer = address.post(CHAT, body("status-429-quota"))
    assert (answer.error["code"], answer.headers["x-should-retry"]) == ("insufficient_quota", "false")


@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_is_let_go_when_the_client_goes(address: Address, server: Upstream, stream: bool) -> None:
    with Client(address, "patient-silent" if stream else "patient-sleepy", stream=stream) as client:
        if stream:
            client.read_until(b"first")
        else:
            assert server.arrived.wait(PATIENCE)
        client.socket.close()
        assert server.left.wait(PATIENCE)


def test_the_provider_is_let_go_though_another_request_waits_behind_the_stream(
    address: Address, server: Upstream
) -> None:
    with Client(address, "patient-silent") as client:
        client.read_until(b"first")
        client.socket.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        client.socket.close()
        assert server.left.wait(PATIENCE)


def test_a_client_that_never_reads_is_cut_off(
    address: Address, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.3)
    with Client(address, "endless-stream", buffer=4096) as client:
        assert server.left.wait(PATIENCE)
        # What was under way fits into the buffers of two sockets; the provider had to wait for the rest.
        assert len(client.read_to_end()) < 20_000_000


@pytest.mark.alone
def test_a_client_that_reads_slowly_gets_everything(
    address: Address, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.3)
    with Client(address, "endless-stream", buffer=4096) as client:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            piece = client.socket.recv(65536)
            assert piece != b""
            time.sleep(0.02)
        client.socket.close()
        assert server.left.wait(PATIENCE)


def test_other_streams_go_on_while_one_is_stuck(address: Address, server: Upstream) -> None:
    with Client(address, "silent") as stuck:
        stuck.read_until(b"first")
        assert events(address.post(CHAT, body("m")).body)[-1] is None


def test_a_head_that_does_not_come_is_not_waited_for(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    for begun in (b"", b"GET /v1/models HTTP/1.1\r\nHost:", b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/h"):
        with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
            connection.sendall(begun)
            received = b""
            try:
                while part := connection.recv(65536):
                    received += part
            except ConnectionResetError:
                pass
            assert received == b"" or parsed(received).status == 200
