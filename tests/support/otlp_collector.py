"""A real OTLP/HTTP collector on loopback that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.support.patience import PATIENCE


@dataclass(frozen=True, slots=True)
class Received:
    """One span, as it came over the wire."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    error: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """The running collector; `status` is what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.paths: set[str] = set()
        self.raw: list[bytes] = []
        self._changed = threading.Condition()

    @property
    def spans(self) -> list[Received]:
        """Every span so far."""
        return [span for body in tuple(self.raw) for span in _spans(body)]

    def keep(self, path: str, body: bytes) -> None:
        """Take a request down."""
        with self._changed:
            self.paths.add(path)
            self.raw.append(body)
            self._changed.notify_all()

    def until(self, count: int, seconds: float = PATIENCE) -> list[Received]:
        """So many spans, once they have come."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(self.spans) < count:
                assert self._changed.wait(deadline - time.monotonic()), self.spans
        return self.spans


def _spans(body: bytes) -> Iterator[Received]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {item.key: _value(item.value) for item in of_resource.resource.attributes}
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.status.code == 2,
                    {item.key: _value(item.value) for item in span.attributes},
                    resource,
                )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


@contextmanager
def collector() -> Iterator[Collector]:
    """The collector, in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.keep(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(running.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        running = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
