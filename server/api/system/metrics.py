"""`GET /metrics`."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from server.fairness.places import leave_place
from server.http.api_route import ROUTE_ALONE, ApiRoute
from server.telemetry.exposition import Exposition, media_type


class MetricsPage:
    """Shows the metrics to the callers whom the route policy permits."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._coming: dict[str, asyncio.Task[bytes]] = {}

    def routes(self) -> list[ApiRoute]:
        """Return the route of the page."""
        return [ApiRoute("/metrics", self.show, asks=ROUTE_ALONE, name="metrics")]

    async def show(self, request: Request) -> Response:
        """Answer with all metrics, as text or as OpenMetrics, whichever the client prefers.

        Requests that come too fast wait, and share the page that is rendered then.
        """
        kind = media_type(request.headers.get("accept", ""))
        coming = self._coming.get(kind)
        if coming is None:
            coming = self._coming[kind] = asyncio.create_task(self._render(kind))
        leave_place()  # others of the same address, such as probes, need not wait for the page
        return Response(await asyncio.shield(coming), media_type=kind)

    async def _render(self, kind: str) -> bytes:
        try:
            await asyncio.sleep(self._exposition.claim())
        finally:
            # A request that comes from now on needs a page that has not been begun.
            del self._coming[kind]
        return await asyncio.to_thread(self._exposition.page, kind)
