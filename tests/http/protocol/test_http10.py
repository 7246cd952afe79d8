"""HTTP/1.0 over raw sockets: no chunks (RFC 9112, section 6.1), and each answer ends where the connection closes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from server.http.cors import Cors, CorsPolicy
from tests.support.application import ByToken, house
from tests.support.callers import ALICE
from tests.support.files_server import keeping
from tests.support.patience import PATIENCE
from tests.support.serving import Address, serving

KEEP_ALIVE = [(), ("Connection: keep-alive",), ("Connection: Keep-Alive", "Keep-Alive: timeout=5")]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    cors = CorsPolicy.localhost()
    with serving(house(authenticator=ByToken(), cors=cors), cors=Cors(cors)) as running:
        yield running


def old(address: Address, method: str, target: str, *headers: str, body: bytes = b"") -> tuple[str, list[str], bytes]:
    """The whole answer to a request of HTTP/1.0: its status line, its header lines in lower case, and its body."""
    about = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    request = "\r\n".join([f"{method} {target} HTTP/1.0", *about, *headers, "", ""]).encode() + body
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, [line.lower() for line in lines], rest


def chat(*, stream: bool) -> bytes:
    message = {"role": "user", "content": "hello there, over and over"}
    return dumps({"model": "llama", "messages": [message], "stream": stream}).encode()


@pytest.mark.parametrize("headers", KEEP_ALIVE)
def test_a_stream_is_not_chunked_and_ends_with_the_connection(address: Address, headers: tuple[str, ...]) -> None:
    status, lines, body = old(address, "POST", "/v1/chat/completions", *headers, body=chat(stream=True))
    assert status.endswith(" 200 OK")
    assert not [line for line in lines if line.startswith(("transfer-encoding", "content-length"))]
    assert "connection: close" in lines
    *events, done, nothing = body.decode().split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    chunks = [loads(event.removeprefix("data: ")) for event in events]
    assert all(event.startswith("data: {") for event in events)
    assert "hello there" in "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_the_same_stream_to_http_1_1_is_chunked_and_holds_the_same(address: Address) -> None:
    answer = address.post("/v1/chat/completions", chat(stream=True))
    assert answer.headers["transfer-encoding"] == "chunked"
    _, _, body = old(address, "POST", "/v1/chat/completions", body=chat(stream=True))
    assert answer.body.count(b"data: ") == body.count(b"data: ") > 2


@pytest.mark.parametrize("headers", KEEP_ALIVE)
@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/providers", 200),
        ("GET", "/v1/health", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/../x", 400),
        ("GET", "/v1/models/none", 404),
        ("DELETE", "/v1/health", 405),
        ("GET", "http://here/v1/models", 400),
        ("BREW", "/v1/models", 405),
    ],
)
def test_any_other_answer_has_its_length_and_closes(
    address: Address, method: str, target: str, status: int, headers: tuple[str, ...]
) -> None:
    line, lines, body = old(address, method, target, *headers)
    assert line.split(" ")[1] == str(status)
    assert f"content-length: {len(body)}" in lines
    assert body
    assert "connection: close" in lines
    assert not [each for each in lines if each.startswith("transfer-encoding")]


@pytest.mark.parametrize(
    "target", ["/v1/models", "/v1/health", "/v1/nothing", "/v1/models/../x", "http://here/v1/models"]
)
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_the_answer_to_a_head_request_has_no_body(address: Address, target: str, version: str) -> None:
    request = f"HEAD {target} {version}\r\nHost: here\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 ")
    assert received.endswith(b"\r\n\r\n")
    assert received.count(b"\r\n\r\n") == 1
    assert b"transfer-encoding" not in received.lower()


def test_a_preflight_is_answered_without_chunks(address: Address) -> None:
    asked = ("Origin: http://localhost", "Access-Control-Request-Method: GET")
    line, lines, body = old(address, "OPTIONS", "/v1/models", *asked)
    assert line.endswith(" 200 OK")
    assert f"content-length: {len(body)}" in lines
    assert "connection: close" in lines


def test_an_expectation_of_http_1_0_is_ignored(address: Address) -> None:
    line, _, _ = old(address, "POST", "/v1/chat/completions", "Expect: 100-continue", body=chat(stream=False))
    assert line.endswith(" 200 OK")


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_refusal_within_a_pipeline_of_http_1_0_ends_the_connection(address: Address, version: str) -> None:
    first = b"GET /v1/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    second = f"GET /v1/version {version}\r\nHost: a\r\n\r\n".encode()
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(first + second)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_file_comes_whole(opa_binary: Path, tmp_path: Path) -> None:
    content = bytes(range(256)) * 700
    with keeping(opa_binary, tmp_path) as kept:
        identity = kept.kept(content)
        line, lines, body = old(
            kept.house.address, "GET", f"/v1/files/{identity}/content", ALICE, "Connection: keep-alive"
        )
        assert line.endswith(" 200 OK")
        assert body == content
        assert f"content-length: {len(content)}" in lines
        assert "connection: close" in lines
        assert not [each for each in lines if each.startswith("transfer-encoding")]
        head, lines, nothing = old(kept.house.address, "HEAD", f"/v1/files/{identity}/content", ALICE)
        assert (head, nothing) == (line, b"")
