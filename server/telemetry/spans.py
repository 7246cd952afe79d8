"""Traces for an OpenTelemetry collector; imported only where one is configured.

A span records an operation, its time and its result: route templates, effects, models of the configuration. It never
holds a caller, a path, a token, a prompt or an answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.span import TraceFlags, TraceState

from server.authz.contract.errors import PolicyUnavailable
from server.inference.provider import ProviderFailed
from server.net.log_filter import quieten_clients
from server.net.trace_context import CURRENT, SAMPLED, TraceContext

EXPORT_SECONDS: Final = 5.0
"""Seconds that the collector may take for one batch, retries included."""

FLUSH_SECONDS: Final = 3.0
"""Seconds that a shutdown waits for the collector."""

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Tracing:
    """Makes spans and exports them from a thread of its own: a slow or failed collector loses spans and delays nothing.

    `endpoint` is the collector's base URL. OpenTelemetry's other settings (headers, certificates, the sampler) come
    from its own variables of the environment, `OTEL_...`.
    """

    def __init__(self, endpoint: str, service_name: str, version: str) -> None:
        quieten_clients()
        session = requests.Session()
        session.trust_env = False  # no proxy and no `.netrc`: spans go where the configuration says
        self._exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS, session=session)
        resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("ostiary", version)

    def request(self, request_id: str, method: str, parent: TraceContext | None) -> RequestSpan:
        """Begin the span of a request, under its client's span `parent` if it has one."""
        span = self._start("HTTP", SpanKind.SERVER, parent, {"ostiary.request_id": request_id})
        return RequestSpan(span, request_id, method, parent)

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, str]) -> Iterator[Span]:
        """Make a span within the current request, the parent of spans in the block; an exception marks it and is raised
        on.
        """
        parent = CURRENT.get()
        span = self._start(name, SpanKind.CLIENT, parent, attributes)
        token = CURRENT.set(None if parent is None else _context(span, parent.request_id, parent))
        try:
            yield span
        except BaseException as fault:
            fail(span, fault)
            raise
        finally:
            CURRENT.reset(token)
            span.end()

    def begin(self, name: str, attributes: Mapping[str, str]) -> Span:
        """Begin a span within the current request that its holder ends."""
        return self._start(name, SpanKind.CLIENT, CURRENT.get(), attributes)

    async def close(self) -> None:
        """Send the remaining spans, as far as the collector takes them within `FLUSH_SECONDS`."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the wait has timed out
                loop.call_soon_threadsafe(done.set)

        # Not in the loop's executor, whose threads delay the shutdown.
        threading.Thread(target=shut_down, name="tracing-shutdown", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await done.wait()
        except TimeoutError:
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it has no types

    def _start(self, name: str, kind: SpanKind, parent: TraceContext | None, attributes: Mapping[str, str]) -> Span:
        context = Context() if parent is None else _surroundings(parent)
        return self._tracer.start_span(name, context=context, kind=kind, attributes=dict(attributes))


class RequestSpan:
    """The span of one request; `context` is its position in the trace, if it has one."""

    def __init__(self, span: Span, request_id: str, method: str, parent: TraceContext | None) -> None:
        self.context = _context(span, request_id, parent)
        self._span = span
        self._method = method

    def end(self, route: str, status: int) -> None:
        """End the span of an answered or abandoned request."""
        method = self._method if self._method in _METHODS else "_OTHER"
        self._span.update_name(f"{'HTTP' if method == '_OTHER' else method} {route}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def fail(span: Span, fault: BaseException) -> None:
    """Mark `span` with the kind of `fault`, never with its message, which may hold any data."""
    match fault:
        case PolicyUnavailable(failure=kind) | ProviderFailed(fault=kind):
            span.set_attribute("error.type", str(kind))
        case _:
            span.set_attribute("error.type", type(fault).__name__)
    span.set_status(StatusCode.ERROR)


def _context(span: Span, request_id: str, parent: TraceContext | None) -> TraceContext | None:
    """Return the position of work under `span`; that of its parent if OpenTelemetry is switched off."""
    made = span.get_span_context()
    if not made.is_valid:
        return parent
    state = "" if parent is None else parent.state
    return TraceContext(f"{made.trace_id:032x}", f"{made.span_id:016x}", made.trace_flags & SAMPLED, state, request_id)


def _surroundings(parent: TraceContext) -> Context:
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                trace_id=int(parent.trace_id, 16),
                span_id=int(parent.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(parent.flags & SAMPLED),
                trace_state=TraceState.from_header([parent.state] if parent.state else []),
            )
        )
    )
