"""What the parser refuses is counted: over raw sockets, by reason, and with no word of a client in it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from server.http.protocol import MAX_FRAMING, MAX_PIPELINED
from server.net.protocol_errors import ProtocolError
from server.telemetry.metrics import Metrics
from tests.support.application import house
from tests.support.metrics_page import measured
from tests.support.patience import PATIENCE
from tests.support.serving import Address, parsed, serving

COUNTED = "ostiary_http_unreadable_requests_total"
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /v1/nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    metrics = Metrics("1.2.3")
    with serving(house(metrics=metrics), metrics.unreadable) as running:
        yield running


def counted(address: Address) -> dict[str, float]:
    page = measured(address)
    return {str(reason): page.value(COUNTED, reason=reason) for reason in ProtocolError}


def test_every_reason_is_there_before_it_happens(address: Address) -> None:
    assert {labels["reason"] for labels in measured(address).labels(COUNTED)} == {*ProtocolError}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"canary\r\n\r\n", ProtocolError.METHOD),
        (b"CANARY /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError.METHOD),
        (b"GET /canary models HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError.SYNTAX),
        (b"GET /canary HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", ProtocolError.SYNTAX),
        (CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n", ProtocolError.SYNTAX),
        (b"GET /canary HTTP/1.2\r\nHost: a\r\n\r\n", None),
        (b"GET http://canary/v1/models HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError.TARGET),
        (b"GET /v1/models#canary HTTP/1.1\r\nHost: a\r\n\r\n", ProtocolError.TARGET),
        (HEALTH[:-2] + b"canary: a\r\n" * 2000, ProtocolError.SIZE),
    ],
)
def test_what_is_refused_before_the_application_sees_it_is_counted_by_reason(
    address: Address, request_: bytes, reason: ProtocolError | None
) -> None:
    before = counted(address)
    answer = parsed(address.exchange(request_))
    assert answer.status in (400, 405)
    assert answer.headers["x-request-id"].startswith("req_")
    more = {name: value - before[name] for name, value in counted(address).items() if value != before[name]}
    # A version that the parser doesn't know at all is no syntax that it knows.
    assert more == {str(reason): 1} if reason else more in ({"version": 1}, {"syntax": 1})
    assert b"canary" not in address.get("/metrics").body


def test_what_comes_in_the_middle_of_something_else_is_counted_too(address: Address) -> None:
    before = counted(address)
    for request in (HEALTH * (4 * MAX_PIPELINED), CHUNKED + b"1;" + b"a" * 100 * MAX_FRAMING):
        with (
            socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection,
            suppress(ConnectionError),
        ):
            connection.sendall(request)
            while connection.recv(65536):
                pass
    after = counted(address)
    assert (after["pipelined"] - before["pipelined"], after["framing"] - before["framing"]) == (1, 1)


def test_what_is_served_is_not_counted(address: Address) -> None:
    before = counted(address)
    assert address.get("/v1/models/nothing%00").status == 400
    assert address.get("/v1/models", method="DELETE").status == 405
    assert counted(address) == before
