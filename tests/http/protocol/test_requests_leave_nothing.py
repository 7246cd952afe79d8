"""A request that is over holds no memory, and needs no collection for that."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from server.http.request_state import RequestState
from tests.support.application import house
from tests.support.patience import PATIENCE
from tests.support.serving import Address, request_of, serving

CHAT = "/v1/chat/completions"
BODY = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
WRONG = dumps(BODY).encode()[:-1] + b',"a":[' + b"[]," * 500_000 + b"}"
REQUESTS: dict[str, tuple[bytes, float | None]] = {
    "a list": (request_of("GET", "/v1/models"), None),
    "a path that does not exist": (request_of("GET", "/v1/nothing"), None),
    "a chat": (request_of("POST", CHAT, body=BODY), None),
    "a stream": (request_of("POST", CHAT, body={**BODY, "stream": True}), None),
    "a wrong body": (request_of("POST", CHAT, body=b"{"), None),
    "a caller that leaves at once": (request_of("POST", CHAT, body=BODY), 0.0),
    "a caller that leaves in its body": (request_of("POST", CHAT, body=WRONG)[:-1000], 0.05),
    "a caller that leaves while its body is read": (request_of("POST", CHAT, body=WRONG), 0.05),
}


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(house()) as running:
        running.get("/v1/models")
        yield running


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> list[Any]:
    return [each for each in gc.get_objects() if type(each) is RequestState]


def send(address: Address, request: bytes, seconds: float | None) -> None:
    """Read one answer, or close the connection after so many seconds."""
    if seconds is None:
        address.exchange(request)
        return
    with socket.create_connection((address.host, address.port), PATIENCE) as connection:
        connection.sendall(request)
        time.sleep(seconds)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_is_over_is_forgotten(address: Address, name: str) -> None:
    request, seconds = REQUESTS[name]
    for _ in range(3):
        send(address, request, seconds)
    until = time.monotonic() + PATIENCE
    while left() and time.monotonic() < until:
        time.sleep(0.01)
    assert not left()
