"""JSON bodies: one parse, one meaning, and a limit for everything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.bodies import MAX_BODY, MAX_DEPTH, parse_object
from server.api.errors import ApiError
from server.http1 import MAX_UNREAD
from tests.http.house import house
from tests.http.serving import Address, parsed, serving

CHAT = "/v1/chat/completions"
GOOD = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(house()) as running:
        yield running


@given(st.dictionaries(st.text(), VALUES), st.booleans())
def test_a_body_means_what_json_says(body: dict[str, Any], escaped: bool) -> None:
    assert parse_object(dumps(body, ensure_ascii=escaped).encode()) == body


@given(st.binary())
def test_any_bytes_are_a_body_or_a_400(raw: bytes) -> None:
    try:
        assert isinstance(parse_object(raw), dict)
    except ApiError as refusal:
        assert refusal.status == 400


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{"model":"a","model":"b"}', "a key comes twice"),
        (b'{"a":[{"x":1,"\\u0078":2}]}', "a key comes twice"),
        (b'{"a":NaN}', "`NaN`"),
        (b'{"a":[-Infinity]}', "`-Infinity`"),
        (b'{"a":1e400}', "too large"),
        (b'{"a":-1e999}', "too large"),
        (b'{"a":' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":1} x', "not JSON"),
        (b'{"a":1}{"a":2}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":"\x00"}', "not JSON"),
        (b'{"a":1', "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"model"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "levels deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "levels deep"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "levels deep"),
    ],
)
def test_what_has_no_single_meaning_is_refused(raw: bytes, sentence: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_object(raw)
    assert refusal.value.status == 400
    assert sentence in refusal.value.message
    assert len(refusal.value.message) < 200


def test_the_deepest_body_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert parse_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert parse_object(b'{"a":[' + b",".join([b"[]"] * 10 * MAX_DEPTH) + b"]}")


def test_both_halves_of_a_character_are_one_character() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


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
    frame = len(dumps({**GOOD, "pad": ""}).encode())
    assert address.post(CHAT, {**GOOD, "pad": "x" * (MAX_BODY - frame)}).status == 200
    answer = address.post(CHAT, {**GOOD, "pad": "x" * (MAX_BODY - frame + 1)})
    assert answer.status == 413
    assert "10485760 bytes" in answer.error["message"]


def test_a_body_that_only_claims_to_be_large_is_refused_before_it_is_sent(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
    assert parsed(address.exchange(head.encode())).status == 413


def test_a_body_without_an_end_is_refused_and_then_cut_off(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        sent = 0
        try:
            while sent < 20 * MAX_UNREAD:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert MAX_BODY + MAX_UNREAD < sent < MAX_BODY + 2 * MAX_UNREAD


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(address: Address) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + b'{"model":')
    assert address.get("/v1/health").status == 200


def test_others_are_served_while_a_large_body_is_read(address: Address) -> None:
    hard = b'{"model":"llama","messages":' + b"[" * 60 + b"{}," * 3_000_000 + b"{}" + b"]" * 60 + b"}"

    async def served_meanwhile() -> int:
        hard_one = asyncio.create_task(asyncio.to_thread(address.post, CHAT, hard))
        served = 0
        while not hard_one.done():
            await asyncio.to_thread(address.get, "/v1/health")
            served += 1
        assert (await hard_one).status == 400
        return served

    # Most of the time goes into parsing; had that held up the event loop, there would be one.
    assert asyncio.run(served_meanwhile()) > 2


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
        ({"store": True}, "store", "unsupported_parameter"),
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
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head.encode() + raw:
            connection.sendall(bytes([byte]))
        answer = parsed(connection.recv(65536))
    assert loads(answer.body)["choices"][0]["message"]["content"] == "echo: hi"
