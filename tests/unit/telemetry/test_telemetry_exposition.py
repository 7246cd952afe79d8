"""How often the page of metrics is rendered, and the listener that shows it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from server.telemetry import exposition
from server.telemetry.exposition import BURST, OPENMETRICS, PAUSE_SECONDS, TEXT, Exposition, MetricsListener
from tests.support.patience import PATIENCE


class Counting:
    """Renders how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def text(self) -> bytes:
        """The number of this page."""
        self.asked += 1
        return b"text %d" % self.asked

    def openmetrics(self) -> bytes:
        """The same in the other format."""
        self.asked += 1
        return b"open %d" % self.asked


def test_after_a_burst_pages_are_rendered_at_a_steady_rate() -> None:
    now = 100.0
    page = Exposition(Counting(), lambda: now)
    assert [page.claim() for _ in range(BURST)] == [0.0] * BURST
    assert [page.claim() for _ in range(3)] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 3 * PAUSE_SECONDS]
    now += 4 * PAUSE_SECONDS
    assert [page.claim() for _ in range(2)] == [0.0, PAUSE_SECONDS]
    now += 1000
    assert [page.claim() for _ in range(BURST + 1)] == [0.0] * BURST + [PAUSE_SECONDS]


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    shown = MetricsListener(Exposition(Counting()), listener)
    yield listener.getsockname()[1]
    shown.close()


def test_the_listener_shows_the_page_and_nothing_else(port: int) -> None:
    for method, path, headers, status, body in [
        ("GET", "/metrics", {}, 200, b"text 1"),
        ("GET", "/metrics?x=1", {"Accept": "application/openmetrics-text"}, 200, b"open 2"),
        ("HEAD", "/metrics", {}, 200, b""),
        ("GET", "/v1/models", {}, 404, None),
        ("GET", "/metrics/../v1", {}, 404, None),
        ("POST", "/metrics", {}, 501, None),
    ]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == status
        assert body is None or said == body
        if status == 200:
            assert answer.headers["content-type"] == (OPENMETRICS if headers else TEXT)
        connection.close()


def test_connections_that_say_nothing_end_and_take_no_more_than_a_few_places(port: int) -> None:
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    time.sleep(0.3)
    assert threading.active_count() - before <= exposition._AT_ONCE
    for each in silent:
        each.settimeout(PATIENCE)
        with suppress(ConnectionResetError):
            assert each.recv(1) == b""
        each.close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 200


def test_connections_that_say_a_letter_now_and_then_end_too(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_LONGEST_SECONDS", 0.5)
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(exposition._AT_ONCE)]
    for each in slow:
        each.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
    for _ in range(10):
        time.sleep(0.3)
        for each in slow:
            with suppress(OSError):
                each.sendall(b"a")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 200
    for each in slow:
        each.close()
