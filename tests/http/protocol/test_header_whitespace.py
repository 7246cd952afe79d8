"""Blanks and tabs around a header's value are no part of it (RFC 9110, section 5.5): what is judged is what is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from json import dumps

import pytest

from server.http.cors import Cors, CorsPolicy
from tests.support.application import ByToken, house
from tests.support.patience import PATIENCE
from tests.support.recording_provider import Listening
from tests.support.serving import Address, parsed, serving
from tests.support.unsafe_policy import UnsafePermitAll

BODY = dumps({"model": "llama", "messages": [{"role": "user", "content": "hi"}]}).encode()
AROUND = [(b"", b" "), (b"", b"\t"), (b"  ", b""), (b"\t", b" \t \t"), (b" \t", b"  ")]
HEADERS = {
    b"Host": b"here",
    b"Authorization": b"Bearer alice",
    b"Content-Type": b"application/json",
    b"Content-Length": b"%d" % len(BODY),
    b"X-Request-Id": b"mine-1",
    b"Origin": b"http://localhost:3000",
    b"Connection": b"close",
}


@pytest.fixture(scope="module")
def address(provider: Listening, enforcement: UnsafePermitAll) -> Iterator[Address]:
    cors = CorsPolicy.localhost()
    app = house(enforcement=enforcement, authenticator=ByToken(), providers={"echo": provider}, cors=cors)
    with serving(app, cors=Cors(cors)) as running:
        yield running


@pytest.fixture(autouse=True)
def _forget(provider: Listening, enforcement: UnsafePermitAll) -> None:
    provider.asked.clear()
    enforcement.asked.clear()


def chat(headers: dict[bytes, bytes], body: bytes = BODY) -> bytes:
    lines = [name + b":" + value for name, value in headers.items()]
    return b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", *lines, b"", body])


@pytest.mark.parametrize(("before", "behind"), AROUND)
@pytest.mark.parametrize("name", [*HEADERS, None])
def test_every_header_means_the_same_with_blanks_around_its_value(
    address: Address, provider: Listening, name: bytes | None, before: bytes, behind: bytes
) -> None:
    padded = {key: before + value + behind if name in (None, key) else b" " + value for key, value in HEADERS.items()}
    answer = parsed(address.exchange(chat(padded)))
    assert answer.status == 200, answer.body
    assert answer.headers["x-client-request-id"] == "mine-1"
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["connection"] == "close"
    assert provider.asked == [BODY.replace(b'"llama"', b'"llama3.2"')]


@pytest.mark.parametrize(("before", "behind"), [(b"", b" "), (b" \t", b"  "), (b"\t", b"")])
def test_a_coding_between_blanks_frames_the_body(
    address: Address, provider: Listening, before: bytes, behind: bytes
) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != b"Content-Length"}
    headers[b"Transfer-Encoding"] = before + b"chunked" + behind
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    answer = parsed(address.exchange(chat(headers, body)))
    assert answer.status == 200, answer.body
    assert provider.asked == [BODY.replace(b'"llama"', b'"llama3.2"')]


@pytest.mark.parametrize("behind", [b"\t", b" \t", b"\x0b", b",", b" ,"])
def test_a_coding_that_the_parser_takes_for_another_one_is_refused(
    address: Address, provider: Listening, enforcement: UnsafePermitAll, behind: bytes
) -> None:
    """Where a body ends is nothing that two readers may see differently, so a tab behind the coding stays a refusal."""
    headers = {name: value for name, value in HEADERS.items() if name != b"Content-Length"}
    headers[b"Transfer-Encoding"] = b" chunked" + behind
    answer = parsed(address.exchange(chat(headers, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))))
    assert (answer.status, answer.error["code"]) == (400, "malformed_request")
    assert (provider.asked, enforcement.asked) == ([], [])


@pytest.mark.parametrize(("before", "behind"), AROUND)
def test_an_expectation_between_blanks_is_met(address: Address, before: bytes, behind: bytes) -> None:
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        connection.sendall(chat({**HEADERS, b"Expect": before + b"100-continue" + behind}, b""))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "value", [b"Bearer  alice", b"Bearer\talice", b"Bearer \talice", b"Bearer alice bob", b"Bearer", b"Bearer ", b" "]
)
@pytest.mark.parametrize("behind", [b"", b" ", b"\t"])
def test_a_blank_inside_the_credential_is_refused_as_ever(
    address: Address, enforcement: UnsafePermitAll, value: bytes, behind: bytes
) -> None:
    answer = parsed(address.exchange(chat({**HEADERS, b"Authorization": value + behind})))
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert enforcement.asked == []


@pytest.mark.parametrize("odd", [b"\x0b", b"\x0c", b"\xa0", b"\x85"])
def test_other_white_space_is_no_blank(address: Address, enforcement: UnsafePermitAll, odd: bytes) -> None:
    answer = parsed(address.exchange(chat({**HEADERS, b"Authorization": b" Bearer alice" + odd})))
    assert answer.status in (400, 401)
    assert enforcement.asked == []


def test_an_offer_to_upgrade_is_declined_with_blanks_around_it_too(address: Address, provider: Listening) -> None:
    headers = {**HEADERS, b"Connection": b" Upgrade, close \t", b"Upgrade": b" websocket \t"}
    headers[b"Authorization"] = b"\tBearer alice \t"
    answer = parsed(address.exchange(chat(headers)))
    assert answer.status == 200, answer.body
    assert len(provider.asked) == 1
