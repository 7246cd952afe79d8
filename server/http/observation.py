"""The middleware that measures every request, however it ends, and gives it its place in a trace."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.request_state import state_of
from server.net.trace_context import CURRENT, read_trace
from server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from server.telemetry.spans import Tracing  # OpenTelemetry is imported only where spans are exported

NO_ROUTE: Final = "none"
"""The route template of a request for which there is no route."""

CLIENT_GONE: Final = 499
"""The status that is counted for a request whose client left before the answer began; it is never sent."""


class Observation:
    """Counts and times requests. Without `tracing`, no span is exported and the client's trace is only passed on."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], metrics: Metrics, tracing: Tracing | None) -> None:
        self.app = app
        self._templates = RouteTemplates(routes)
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and measure it when it is over."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call, method = state_of(scope), scope["method"]
        trace = read_trace(scope["headers"], call.request_id)
        span = None
        if self._tracing is not None:
            span = self._tracing.request(call.request_id, method, trace)
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
        """Return the template, or `NO_ROUTE`; never a path that a client made up."""
        routed = scope.get("route")
        if isinstance(routed, Route):
            return routed.path_format
        path = scope["path"]
        if path in self._plain:
            return self._plain[path]
        return next((route.path_format for route in self._others if route.path_regex.match(path)), NO_ROUTE)
