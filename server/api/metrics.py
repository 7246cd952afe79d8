"""`GET /metrics`."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from server.telemetry.metrics import Metrics

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TEXT_TYPES: Final = frozenset({"text/plain", "text/*", "*/*"})


class MetricsPage:
    """Shows what is measured to whoever the route policy lets see it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def show(self, request: Request) -> Response:
        """Everything, as text or as OpenMetrics, whichever the client likes better."""
        if prefers_openmetrics(request.headers.get("accept", "")):
            return Response(await asyncio.to_thread(self._metrics.openmetrics), media_type=OPENMETRICS)
        return Response(await asyncio.to_thread(self._metrics.text), media_type=TEXT)


def prefers_openmetrics(accept: str) -> bool:
    """Whether `accept` names OpenMetrics with a weight that no text type exceeds; an unreadable weight is none."""
    weights = {True: 0.0, False: 0.0}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        is_openmetrics = name == "application/openmetrics-text"
        if is_openmetrics or name in _TEXT_TYPES:
            weights[is_openmetrics] = max(weights[is_openmetrics], _weight(parameters))
    return weights[True] > 0 and weights[True] >= weights[False]


def _weight(parameters: list[str]) -> float:
    values = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
    try:
        return float(values[0]) if values else 1.0
    except ValueError:
        return 0.0
