"""Where a request begins and ends: whatever two readers could see differently is refused, and no handler runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from json import dumps

import pytest

from tests.support.application import house
from tests.support.patience import PATIENCE
from tests.support.recording_provider import Listening
from tests.support.serving import Address, parsed, serving
from tests.support.unsafe_policy import UnsafePermitAll

pytestmark = pytest.mark.usefixtures("nothing_asked")

BODY = dumps({"model": "llama", "messages": [{"role": "user", "content": "hi"}]}).encode()
SIZE = b"%x\r\n" % len(BODY)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
VERSION = b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def address(enforcement: UnsafePermitAll, provider: Listening) -> Iterator[Address]:
    with serving(house(enforcement=enforcement, providers={"echo": provider})) as running:
        yield running


def everything(address: Address, request: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


BROKEN = {
    "a size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "a size with a sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a size with a prefix": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size behind a blank": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "a size before a blank": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "a size of seventeen digits": CHUNKED + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a size that ends with a bare LF": CHUNKED + SIZE.replace(b"\r", b"") + BODY + b"\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + SIZE + BODY + b"0\r\n\r\n",
    "a chunk that ends with a bare LF": CHUNKED + SIZE + BODY + b"\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with a bare LF": CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a trailer that frames": CHUNKED
    + SIZE
    + BODY
    + b"\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "a folded trailer": CHUNKED + SIZE + BODY + b"\r\n0\r\nX: a\r\n b\r\n\r\n",
    "a trailer that is a request": CHUNKED + SIZE + BODY + b"\r\n0\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    "an empty length": POST + b"Content-Length: \r\n\r\n" + BODY,
    "a length with a prefix": POST + b"Content-Length: 0x10\r\n\r\n" + BODY,
    "a length of two numbers": POST + b"Content-Length: 1 0\r\n\r\n" + BODY,
    "a list of lengths": POST + b"Content-Length: 5,5\r\n\r\n" + BODY,
    "the coding identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "no coding at all": POST + b"Transfer-Encoding: \r\n\r\n" + BODY,
    "a coding behind a control character": POST
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n"
    + SIZE
    + BODY
    + b"\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + SIZE + BODY + b"\r\n0\r\n\r\n",
    "chunked and then identity": POST
    + b"Transfer-Encoding: chunked, identity\r\n\r\n"
    + SIZE
    + BODY
    + b"\r\n0\r\n\r\n",
    "chunked before HTTP/1.1": CHUNKED.replace(b"1.1", b"1.0") + SIZE + BODY + b"\r\n0\r\n\r\n",
    "a length and chunks": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    + SIZE
    + BODY
    + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_with_two_ends_reaches_no_handler(
    address: Address, enforcement: UnsafePermitAll, provider: Listening, name: str
) -> None:
    answer = parsed(address.exchange(BROKEN[name]))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert (enforcement.asked, provider.asked) == ([], [])


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("one chunk", CHUNKED + SIZE + BODY + b"\r\n0\r\n\r\n"),
        ("two chunks", CHUNKED + b"1\r\n{\r\n%x\r\n" % (len(BODY) - 1) + BODY[1:] + b"\r\n0\r\n\r\n"),
        ("extensions", CHUNKED + SIZE[:-2] + b';a=b;c="d"\r\n' + BODY + b"\r\n0;e\r\n\r\n"),
        ("a trailer", CHUNKED + SIZE + BODY + b"\r\n0\r\nX: Y\r\n\r\n"),
        ("a coding in capitals", CHUNKED.replace(b"chunked", b"Chunked") + SIZE + BODY + b"\r\n0\r\n\r\n"),
        ("a length with zeros before it", POST + b"Content-Length: 00%d\r\n\r\n" % len(BODY) + BODY),
        (
            "a header that only looks like a length",
            POST + b"Content_Length: 5\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        ),
        ("HTTP/1.0", POST.replace(b"1.1", b"1.0") + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY),
    ],
)
def test_a_body_with_one_end_is_read_to_it(address: Address, provider: Listening, name: str, request_: bytes) -> None:
    assert parsed(address.exchange(request_)).status == 200
    assert provider.asked == [BODY.replace(b'"llama"', b'"llama3.2"')]


def test_what_lies_behind_a_length_that_is_too_short_is_no_part_of_the_body_and_no_request(
    address: Address, provider: Listening
) -> None:
    received = everything(address, POST + b"Content-Length: %d\r\n\r\n" % (len(BODY) - 1) + BODY)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"the body is not JSON" in received
    assert provider.asked == []


def test_a_body_that_holds_a_request_smuggles_nothing(address: Address, enforcement: UnsafePermitAll) -> None:
    inner = b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
    request = POST + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
    received = parsed(address.exchange(request))
    assert received.status == 400
    assert [route.path for route, _ in enforcement.asked if route is not None] == ["/v1/chat/completions"]


def test_a_client_that_closes_before_its_length_is_sent_is_not_answered_by_any_provider(
    address: Address, provider: Listening
) -> None:
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 1) + BODY)
    assert address.get("/v1/version").status == 200
    assert provider.asked == []


def test_a_body_on_a_request_that_has_none_is_read_past(address: Address) -> None:
    inner = b"GET /v1/models/x HTTP/1.1\r\nHost: a\r\n\r\n"
    first = VERSION[:-2] + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
    received = everything(address, first + VERSION[:-2] + b"Connection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 200 ") == received.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"http/1.1", b"HTTP/01.1"])
def test_another_version_of_http_is_refused(address: Address, enforcement: UnsafePermitAll, version: bytes) -> None:
    answer = parsed(address.exchange(VERSION.replace(b"HTTP/1.1", version)))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert enforcement.asked == []


@pytest.mark.parametrize("lines", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_is_answered_and_the_connection_closed(address: Address, lines: bytes) -> None:
    received = everything(address, b"GET /v1/version HTTP/1.0\r\n" + lines + b"\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in received


@pytest.mark.parametrize("host", [b"a b", b"a@b", b"a/b", b"a,b", b"a\\b", b"a?b", b"a#b", "ä".encode()])
def test_a_host_that_is_none_is_refused(address: Address, enforcement: UnsafePermitAll, host: bytes) -> None:
    answer = parsed(address.exchange(VERSION.replace(b"Host: a", b"Host: " + host)))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert enforcement.asked == []


@pytest.mark.parametrize(
    "host", [b"", b"localhost:8321", b"127.0.0.1", b"[::1]:8321", b"xn--bcher-kva.example", b"a_b"]
)
def test_a_host_may_be_any_name_or_address(address: Address, host: bytes) -> None:
    assert parsed(address.exchange(VERSION.replace(b"Host: a", b"Host: " + host))).status == 200


def test_a_client_that_asks_first_is_told_to_send_its_body(address: Address) -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"Content-Length: 100000000", 413), (b"Content-Length: 9\r\nContent-Encoding: gzip", 415)],
)
def test_a_client_that_asks_first_is_told_what_is_wrong_and_its_body_is_no_request(
    address: Address, enforcement: UnsafePermitAll, line: bytes, status: int
) -> None:
    received = everything(address, POST + line + b"\r\nExpect: 100-continue\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.count(b"HTTP/1.1 ") == 1
    assert len(enforcement.asked) == 1
