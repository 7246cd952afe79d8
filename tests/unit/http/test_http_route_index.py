"""Routes found by the beginning of a path are those that a comparison with every route finds."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from policy.served_routes import SERVED
from server.http.route_index import RouteIndex

PATHS = (
    *(served.path.replace("{", "").replace(":path}", "").replace("}", "") for served in SERVED),
    "/v1/models/a/b/c",
    "/v1/models/",
    "/v1/eval/benchmarks/x",
    "/v1/conversations//items",
    "/v1/nothing",
    "/v1",
    "/v1/",
    "/",
    "//v1/models",
    "/V1/models",
    "/v2/models",
    "/models",
)


async def handler(request: Request) -> Response:
    raise NotImplementedError


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    return [Route(served.path, handler, methods=[served.method]) for served in SERVED]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_index_leaves_out_no_route_that_fits(routes: list[Route], method: str) -> None:
    index, fitting = RouteIndex(routes), 0
    for path in PATHS:
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        every = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
        indexed = [route for route in index.of(path) if route.matches(scope)[0] is not Match.NONE]
        assert indexed == every
        fitting += bool(every)
    assert fitting > 10


def test_a_route_without_a_fixed_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="a parameter in its first 2 segments"):
        RouteIndex([Route("/v1/{anything}", handler)])
