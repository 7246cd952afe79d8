"""The middleware that measures every request, whatever becomes of it, and gives it its place in a trace."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Final, Protocol

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.request_state import RequestState, state_of
from server.net.trace_context import CURRENT, TraceContext, read_trace
from server.telemetry.metrics import Metrics

NO_ROUTE: Final = "none"
"""The route template of a request for which there is no route."""

CLIENT_GONE: Final = 499
"""The status of a request whose client went before the answer began; it was sent to nobody."""


class ObservedSpan(Protocol):
    """One request, as it is exported."""

    @property
    def context(self) -> TraceContext | None:
        """Its place in the trace, if it has one."""
        ...

    def end(self, route: str, status: int) -> None:
        """It is answered."""
        ...


class RequestSpans(Protocol):
    """What needs to be known here of `server.telemetry.spans.Tracing`."""

    def request(self, call: RequestState, method: str, parent: TraceContext | None) -> ObservedSpan:
        """Begin the span of a request, under that of its client if it has one."""
        ...


class Observation:
    """Counts and times requests; `spans` is None where traces are not exported, and then they are only passed on."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], metrics: Metrics, spans: RequestSpans | None) -> None:
        self.app = app
        self._templates = RouteTemplates(routes)
        self._metrics = metrics
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and measure it when it is over."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call, method = state_of(scope), scope["method"]
        trace = read_trace(scope["headers"], call.request_id)
        span = None
        if self._spans is not None:
            span = self._spans.request(call, method, trace)
            trace = span.context
        token = None if trace is None else CURRENT.set(trace)
        fallback = CLIENT_GONE
        try:
            await self.app(scope, receive, send)
        except Exception:
            fallback = 500  # Starlette answers it, in front of every middleware
            raise
        finally:
            route, status = self._templates.of(scope), call.status or fallback
            self._metrics.served(route, method, status, perf_counter() - call.started)
            if span is not None:
                span.end(route, status)
            if token is not None:
                CURRENT.reset(token)


class RouteTemplates:
    """Finds the template of a request's route (`/v1/models/{model_id}`), even if it was refused before routing."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        listed = [route for route in routes if isinstance(route, Route)]
        self._plain = {route.path: route.path for route in listed if not route.param_convertors}
        self._others = [route for route in listed if route.param_convertors]

    def of(self, scope: Scope) -> str:
        """The template, or `NO_ROUTE`; never a path that a client made up."""
        routed = scope.get("route")
        if isinstance(routed, Route):
            return routed.path_format
        path = scope["path"]
        if path in self._plain:
            return self._plain[path]
        return next((route.path_format for route in self._others if route.path_regex.match(path)), NO_ROUTE)
