"""HTTP/1.1 over raw sockets: what uvicorn's protocol would let through, drop or leave open."""

from __future__ import annotations

import socket

import pytest

from policy.vocabulary import Route
from tests.support.patience import PATIENCE
from tests.support.serving import Address, parsed
from tests.support.unsafe_policy import UnsafePermitAll

pytestmark = pytest.mark.usefixtures("nothing_asked")

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/models HTTP/1.1\nHost: a\n\n",
        b"GET /v1/models HTTP/3.7\r\nHost: a\r\n\r\n",
        b"GET /v1/models\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models?a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models?\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX\xff: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET /v1/mod els HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n: a\r\n\r\n",
    ],
)
def test_what_is_not_well_formed_http_is_refused_in_our_envelope(
    address: Address, enforcement: UnsafePermitAll, request_: bytes
) -> None:
    answer = parsed(address.exchange(request_))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert answer.headers["connection"] == "close"
    assert enforcement.asked == []


def test_a_head_without_an_end_is_not_collected_for_ever(address: Address) -> None:
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: ")
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(b"a" * 65536)
        except OSError:
            pass
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "method", ["get", "Get", "post", "BREW-TEA", "G@T", "X", "GET\t/v1/models", "\x16\x03\x01\x02"]
)
def test_an_unknown_method_is_not_allowed(address: Address, enforcement: UnsafePermitAll, method: str) -> None:
    answer = address.get("/v1/models", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, POST, PUT")
    assert answer.error["message"]
    assert enforcement.asked == []


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/health", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/responses", 404),
        ("POST", "/v1/responses", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/", 404),
    ],
)
def test_a_websocket_is_opened_nowhere_and_its_request_is_judged_like_any_other(
    address: Address, enforcement: UnsafePermitAll, method: str, path: str, status: int
) -> None:
    answer = address.get(path, *UPGRADE, method=method)
    assert answer.status == status
    assert "upgrade" not in answer.headers
    assert enforcement.asked[0] == (Route(method, path), None)


def test_a_malformed_path_is_refused_with_an_offer_to_upgrade_too(
    address: Address, enforcement: UnsafePermitAll
) -> None:
    assert address.get("/v1/models/../x", *UPGRADE).status == 400
    assert enforcement.asked == []


def test_a_body_sent_with_an_offer_to_upgrade_is_read(address: Address) -> None:
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A")
    answer = address.post("/v1/chat/completions", body, *offer)
    assert answer.json["choices"][0]["message"]["content"] == "echo: hi"


def test_a_trailer_is_no_header(address: Address) -> None:
    body = b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}'
    chunks = b"%x\r\n%b\r\n0\r\nContent-Encoding: gzip\r\nX-Request-Id: mine\r\n\r\n" % (len(body), body)
    answer = parsed(address.exchange(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
    assert answer.status == 200
    assert "x-client-request-id" not in answer.headers


def test_two_requests_on_one_connection_get_two_answers_in_order(address: Address) -> None:
    one = b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(one + last)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.index(b'{"version"') < received.index(b'{"object":"list"')
    assert received.count(b"HTTP/1.1 200") == 2


def test_a_malformed_request_behind_a_good_one_spoils_no_answer(address: Address) -> None:
    body = b'{"model":"llama","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    head = CHAT + b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(head + body + b"\x00garbage\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert parsed(received).body.endswith(b"data: [DONE]\n\n")
    assert b"malformed" not in received


def test_a_body_that_breaks_its_framing_is_refused(address: Address) -> None:
    answer = parsed(address.exchange(CHAT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
