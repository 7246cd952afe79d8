"""`GET /v1/inspect/routes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.http.api_route import ROUTE_ALONE, ApiRoute


class InspectRoutes:
    """Lists the routes of this server to the callers whom the route policy permits."""

    def __init__(self, provider_types: Mapping[str, Sequence[str]]) -> None:
        """`provider_types` maps the path of a route that providers serve to the types of those providers."""
        self._provider_types = provider_types

    def routes(self) -> list[ApiRoute]:
        """Return the route of the list."""
        return [ApiRoute("/v1/inspect/routes", self.list, asks=ROUTE_ALONE, name="inspect.routes")]

    async def list(self, request: Request) -> Response:
        """Answer with every route, one entry a method; a caller need not be permitted to use what it sees here."""
        methods = ((route.path_format, route.methods or set()) for route in request.app.routes)
        served = sorted((path, method) for path, each in methods for method in each - {"HEAD"})
        return JSONResponse({"data": [self._shown(path, method) for path, method in served]})

    def _shown(self, path: str, method: str) -> dict[str, Any]:
        return {"route": path, "method": method, "provider_types": [*self._provider_types.get(path, ())]}
