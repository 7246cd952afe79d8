"""The page of metrics, rendered at a bounded rate, and a listener that shows it beside the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

BURST: Final = 10
"""Pages that may be rendered one after the other without a pause."""

PAUSE_SECONDS: Final = 0.25
"""The pause between further ones: a page takes some 8 ms of a processor."""

PATH: Final = "/metrics"

_LONGEST_ACCEPT: Final = 1024
"""Characters of an `Accept` that are read; those that monitors send have some 200."""

_TEXT_TYPES: Final = frozenset({"text/plain", "text/*", "*/*"})
_AT_ONCE: Final = 8
_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 5.0
"""Seconds that a connection may be open, even with a busy client."""


class Rendered(Protocol):
    """Metrics in both text formats; rendering takes milliseconds, so it is done in a thread."""

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format 0.0.4."""
        ...

    def openmetrics(self) -> bytes:
        """Return the metrics in OpenMetrics 1.0.0."""
        ...


class Together:
    """The counts of all workers in the files of `directory`, for a process that counts nothing itself."""

    def __init__(self, directory: Path) -> None:
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, str(directory))  # type: ignore[no-untyped-call]  # it has no types

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def openmetrics(self) -> bytes:
        """Return the metrics in OpenMetrics 1.0.0."""
        text: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]  # it has no types
        return text


class Exposition:
    """The page of `rendered` in both formats; may be used from any thread."""

    def __init__(self, rendered: Rendered, clock: Callable[[], float] = time.monotonic) -> None:
        self._render = {TEXT: rendered.text, OPENMETRICS: rendered.openmetrics}
        self._clock = clock
        self._lock = Lock()
        self._free_at = clock() - BURST * PAUSE_SECONDS

    def claim(self) -> float:
        """Reserve one rendering for the caller; return the seconds to wait before it."""
        with self._lock:
            now = self._clock()
            # Unused time accumulates to a burst.
            self._free_at = max(self._free_at, now - BURST * PAUSE_SECONDS) + PAUSE_SECONDS
            return max(0.0, self._free_at - now)

    def page(self, kind: str) -> bytes:
        """Return the current page of that media type, for callers that have waited as long as `claim` said."""
        return self._render[kind]()


def media_type(accept: str) -> str:
    """Return the media type that `accept` prefers: OpenMetrics if no text type has a greater weight.

    An unreadable weight counts as none, and a long text as empty.
    """
    if len(accept) > _LONGEST_ACCEPT:
        return TEXT
    weights = {True: 0.0, False: 0.0}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        is_openmetrics = name == "application/openmetrics-text"
        if is_openmetrics or name in _TEXT_TYPES:
            weights[is_openmetrics] = max(weights[is_openmetrics], _weight(parameters))
    return OPENMETRICS if weights[True] > 0 and weights[True] >= weights[False] else TEXT


def _weight(parameters: list[str]) -> float:
    values = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
    try:
        return float(values[0]) if values else 1.0
    except ValueError:
        return 0.0


class MetricsListener:
    """Serves the page on a listening socket of its own, from threads, independent of the event loop.

    It serves a few connections at once, each for one request and for a short time, and closes the others.
    """

    def __init__(self, exposition: Exposition, listener: socket) -> None:
        self._server = _Server(listener.getsockname()[:2], _handler(exposition), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._places = BoundedSemaphore(_AT_ONCE)
        self._open: dict[socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close connections that have been open for too long; called twice a second."""
        too_old = time.monotonic() - _LONGEST_SECONDS
        for connection in [each for each, since in list(self._open.items()) if since < too_old]:
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._open[request]
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: only a connection has failed."""


def _handler(exposition: Exposition) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS
        server_version, sys_version = "ostiary", ""

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            if self.path.partition("?")[0] != PATH:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            kind = media_type(self.headers.get("accept", ""))
            time.sleep(exposition.claim())
            body = exposition.page(kind)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command == "GET":
                with suppress(OSError):
                    self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library has it
            """Say nothing: scrapes are no news."""

    return Handler
