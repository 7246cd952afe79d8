"""JSON bodies: one parse, one meaning, and a limit for everything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from json import dumps, loads
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from server.fairness.shares import Share
from server.http.errors import ClientGone
from server.http.json_body import MAX_BODY, read_body
from server.http.protocol import MAX_UNREAD
from server.http.request_state import RequestState
from server.json_input.body_parser import BodyParser
from server.json_input.reader import LARGE, READS, Reader
from tests.support import body_checks
from tests.support.application import ByToken, house
from tests.support.patience import PATIENCE
from tests.support.serving import Address, Answer, parsed, serving

CHAT = "/v1/chat/completions"
GOOD = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}


def padded(size: int) -> dict[str, Any]:
    """Return a chat with `size` characters in a member that every provider may be sent."""
    return {**GOOD, "metadata": {"pad": "x" * size}}


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(house()) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ('application/json;charset="UTF-8"', 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
def test_a_body_is_json_in_utf8(address: Address, kind: str, status: int) -> None:
    answer = address.post(CHAT, GOOD, kind=kind)
    assert answer.status == status
    assert status == 200 or "application/json" in answer.error["message"]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, gzip", "x"])
def test_a_compressed_body_is_not_unpacked(address: Address, coding: str) -> None:
    answer = address.post(CHAT, GOOD, f"Content-Encoding: {coding}")
    assert (answer.status, answer.error["type"]) == (415, "invalid_request_error")


def test_ten_megabytes_are_read_and_one_byte_more_is_not(address: Address) -> None:
    frame = len(dumps(padded(0)).encode())
    assert address.post(CHAT, padded(MAX_BODY - frame)).status == 200
    answer = address.post(CHAT, padded(MAX_BODY - frame + 1))
    assert answer.status == 413
    assert "10485760 bytes" in answer.error["message"]


def test_a_body_that_only_claims_to_be_large_is_refused_before_it_is_sent(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
    assert parsed(address.exchange(head.encode())).status == 413


def test_a_body_without_an_end_is_refused_and_then_cut_off(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        sent = 0
        try:
            while sent < 20 * MAX_UNREAD:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert MAX_BODY + MAX_UNREAD < sent < MAX_BODY + 2 * MAX_UNREAD


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_no_other(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + b'{"model":')
    assert address.get("/v1/health").status == 200


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": ...}, "model", "missing_required_parameter"),
        ({"model": 5}, "model", "invalid_value"),
        ({"model": ""}, "model", "invalid_value"),
        ({"model": "x" * 513}, "model", "invalid_value"),
        ({"messages": ...}, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, "messages", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}, "hi"]}, "messages[1]", "invalid_value"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": 5}]}, "messages[0].role", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"stream_options": []}, "stream_options", "invalid_value"),
        ({"store": "yes"}, "store", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"model": "minilm"}, "model", "invalid_value"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(address: Address, change: dict[str, Any], param: str, code: str) -> None:
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not ...}
    answer = address.post(CHAT, body)
    assert answer.status == 400
    assert (answer.error["type"], answer.error["param"], answer.error["code"]) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("change", [{"stream": None}, {"stream_options": None}, {"store": False}, {"store": None}])
def test_null_is_the_same_as_absent(address: Address, change: dict[str, Any]) -> None:
    assert address.post(CHAT, {**GOOD, **change}).status == 200


def test_a_body_sent_in_single_bytes_is_one_body(address: Address) -> None:
    raw = dumps(GOOD).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head.encode() + raw:
            connection.sendall(bytes([byte]))
        answer = parsed(connection.recv(65536))
    assert loads(answer.body)["choices"][0]["message"]["content"] == "echo: hi"


async def nobody(message: Message) -> None:
    """Nothing is sent."""


def test_bodies_that_never_end_crowd_out_no_small_one_and_no_other_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    coming = Share("bytes of large bodies", 8 * LARGE, 2 * LARGE, 0, 0, seconds=1.0)
    monkeypatch.setattr("server.json_input.reader.INCOMING", coming)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {MAX_BODY}\r\n"
    large = padded(LARGE)
    with serving(house(authenticator=ByToken())) as running, ExitStack() as unfinished:
        place = (running.host, running.port)
        alice, bob = "Authorization: Bearer alice", "Authorization: Bearer bob"
        for _ in range(2):
            connection = unfinished.enter_context(socket.create_connection(place, timeout=PATIENCE))
            connection.sendall(f"{head}{alice}\r\n\r\n".encode() + b" " * (LARGE - 1))
        connection.sendall(b" ")
        refused = until(lambda: running.post(CHAT, large, alice), 429)
        assert refused.headers["retry-after"] == "1"
        assert running.post(CHAT, GOOD, alice).status == 200
        assert running.post(CHAT, large, bob).status == 200
        unfinished.close()
        until(lambda: running.post(CHAT, large, alice), 200)


def until(ask: Callable[[], Answer], status: int) -> Answer:
    """The first answer with that status."""
    answers = (ask() for _ in range(1000))
    return next(answer for answer in answers if answer.status == status)


def test_a_body_is_not_read_on_when_its_client_has_left() -> None:
    async def run() -> None:
        reader, left = Reader(), asyncio.Event()
        parts = [{"type": "http.request", "body": b'{"a":"' + b"x" * LARGE + b'"}', "more_body": False}]

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "headers": headers}
        scope |= {"ostiary.call": RequestState("req_1", 0.0, nobody)}
        request = Request(scope, receive)
        reading = asyncio.create_task(read_body(request, reader, BodyParser(body_checks.linger, dict)))
        asyncio.get_running_loop().call_later(0.2, left.set)
        with pytest.raises(ClientGone):
            await reading
        # Its process is gone too, else there would soon be none left.
        for _ in range(2 * READS.capacity):
            assert (await reader.look(b'{"a":"' + b"x" * LARGE + b'"}', body_checks.count))["members"] == 1
        await reader.close()

    asyncio.run(run())
