"""Clients that are slow, endless or many at once: each meets a limit, and the limit is the documented one."""

from __future__ import annotations

import gc
import socket
import time

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from server.http import json_body, protocol
from tests.support.patience import PATIENCE
from tests.support.serving import Address, drip_until_answered, parsed, until_closed
from tests.support.unsafe_policy import UnsafePermitAll

pytestmark = pytest.mark.usefixtures("nothing_asked")

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
FLOOD = 20_000_000


def connect(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=PATIENCE)


def drip(connection: socket.socket, piece: bytes) -> None:
    """Send a piece every twentieth of a second until the server has closed the connection."""
    try:
        while True:
            connection.sendall(piece)
            time.sleep(0.05)
    except OSError:
        return


def flood(connection: socket.socket, piece: bytes) -> int:
    """Send until the server closes; how many bytes it took."""
    sent = 0
    try:
        while sent < FLOOD:
            sent += connection.send(piece)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("piece", [b"", b"X: a\r\n", b"a"])
def test_a_head_that_comes_too_slowly_is_cut_off(
    address: Address, enforcement: UnsafePermitAll, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with connect(address) as connection:
        connection.sendall(b"GET /v1/version HTTP/1.1\r\nHost: a\r\nX: ")
        if piece:
            drip(connection, piece)
        assert until_closed(connection) == b""
    assert enforcement.asked == []


def test_a_connection_on_which_nothing_is_asked_is_cut_off(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with connect(address) as connection:
        assert until_closed(connection) == b""


def test_empty_lines_keep_no_connection_open(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with connect(address) as connection:
        connection.sendall(HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        drip(connection, b"\r\n")
        assert until_closed(connection) == b""


@pytest.mark.parametrize("piece", [b"", b" "])
@pytest.mark.parametrize("first", [b"", b'{"model":'])
def test_a_body_that_comes_too_slowly_is_refused(
    address: Address, monkeypatch: pytest.MonkeyPatch, first: bytes, piece: bytes
) -> None:
    monkeypatch.setattr(json_body, "BODY_SECONDS", 0.5)
    with connect(address) as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n" + first)
        if piece:
            drip_until_answered(connection, piece)
        answer = parsed(until_closed(connection))
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert "not sent within" in answer.error["message"]


def test_a_body_that_was_not_wanted_is_taken_for_a_limited_time(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.5)
    with connect(address) as connection:
        connection.sendall(POST.replace(b"/v1/chat/completions", b"/v1/nothing") + b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        drip(connection, b" ")
        assert until_closed(connection) == b""


def test_a_body_that_was_not_wanted_is_read_past_if_it_comes_in_time(address: Address) -> None:
    with connect(address) as connection:
        connection.sendall(POST.replace(b"/v1/chat/completions", b"/v1/nothing") + b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b" " * 1000 + HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_was_not_wanted_is_kept_no_longer_than_its_answer_takes(address: Address) -> None:
    body = b"x" * 50_000
    unwanted = POST.replace(b"/v1/chat/completions", b"/v1/nothing") + b"Content-Length: %d\r\n\r\n" % len(body)
    with connect(address) as connection:
        connection.sendall(unwanted + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        # The connection is kept alive, and its request with it.
        cycles = [each for each in gc.get_objects() if type(each) is RequestResponseCycle and each.response_complete]
        assert cycles
        assert {len(each.body) for each in cycles} == {0}


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (CHUNKED + b"1;", b"a" * 65536),
        (CHUNKED + b"1", b";a=b" * 16384),
        (CHUNKED + b"1\r\n \r\n0\r\nX: ", b"a" * 65536),
        (CHUNKED + b"1\r\n \r\n0\r\n", b"X: a\r\n" * 10_000),
    ],
)
def test_extensions_and_trailers_without_an_end_are_refused(
    address: Address, enforcement: UnsafePermitAll, start: bytes, piece: bytes
) -> None:
    with connect(address) as connection:
        connection.sendall(start)
        assert flood(connection, piece) < FLOOD
        received = until_closed(connection)
    # A client that goes on sending may lose the answer with the connection.
    assert received == b"" or parsed(received).status == 400
    assert enforcement.asked == []


def test_small_extensions_in_every_chunk_are_no_flood(address: Address) -> None:
    body = b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}'
    chunks = b"".join(b"1;%b\r\n%c\r\n" % (b"x" * 1000, byte) for byte in body)
    assert parsed(address.exchange(CHUNKED + chunks + b"0\r\n\r\n")).status == 200


def test_large_extensions_are_no_flood_while_the_body_goes_on(address: Address) -> None:
    body = b'{"model":"llama","messages":[{"role":"user","content":"hi"}]}'
    with connect(address) as connection:
        connection.sendall(CHUNKED)
        for byte in (body[:1], body[1:2], body[2:]):
            connection.sendall(b"%x;" % len(byte) + b"a" * 30_000)
            time.sleep(0.05)
            connection.sendall(b"\r\n%b\r\n" % byte)
            time.sleep(0.05)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_empty_lines_without_an_end_are_refused(address: Address) -> None:
    with connect(address) as connection:
        connection.sendall(HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert flood(connection, b"\r\n" * 32768) < FLOOD


def test_the_largest_head_may_come_in_two_pieces_and_its_body_later(address: Address) -> None:
    head = b"POST /v1/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX: %b\r\n\r\n" % (b"a" * 2000, b"b" * 32_000)
    with connect(address) as connection:
        connection.sendall(head[:1])
        time.sleep(0.05)
        connection.sendall(head[1:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"{}" + HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_request_may_begin_in_the_same_piece_as_a_large_one_ends(address: Address) -> None:
    large = POST.replace(b"/v1/chat/completions", b"/v1/nothing") + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000
    with connect(address) as connection:
        connection.sendall(large + HEALTH[:10])
        time.sleep(0.05)
        connection.sendall(HEALTH[10:-2] + b"Connection: close\r\n\r\n")
        received = until_closed(connection)
    assert [received.count(b"HTTP/1.1 %d " % status) for status in (404, 200, 400)] == [1, 1, 0]


def test_a_request_that_breaks_off_after_its_answer_gets_no_second_one(address: Address) -> None:
    with connect(address) as connection:
        connection.sendall(CHUNKED.replace(b"/v1/chat/completions", b"/v1/nothing") + b"1\r\n \r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"zz\r\n")
        assert until_closed(connection) == b""


@pytest.mark.parametrize(("count", "status"), [(990, 200), (10_000, 400)])
def test_a_request_has_at_most_a_thousand_headers(
    address: Address, enforcement: UnsafePermitAll, count: int, status: int
) -> None:
    answer = parsed(address.exchange(HEALTH[:-2] + b"a:b\r\n" * count + b"\r\n"))
    assert answer.status == status
    assert (enforcement.asked == []) == (status == 400)
    assert status == 200 or "1000 headers" in answer.error["message"]


def test_requests_that_come_at_once_are_answered_in_order_up_to_a_number(address: Address) -> None:
    with connect(address) as connection:
        connection.sendall(HEALTH * 50 + HEALTH[:-2] + b"Connection: close\r\n\r\n")
        assert until_closed(connection).count(b"HTTP/1.1 200 ") == 51


def test_requests_by_the_thousand_end_the_connection(address: Address, enforcement: UnsafePermitAll) -> None:
    with connect(address) as connection:
        connection.sendall(HEALTH * 500)
        assert until_closed(connection).count(b"HTTP/1.1 ") <= protocol.MAX_PIPELINED + 1
    assert len(enforcement.asked) <= protocol.MAX_PIPELINED + 1
    assert address.get("/v1/health").status == 200
