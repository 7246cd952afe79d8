"""The map of the server: the middleware in its order, then the routes of each resource.

A request passes the middleware from the top of the list. It waits for its turn, the edge refuses malformed requests,
authentication turns a token into a principal, the route guard asks the policy engine, and a handler answers. Each
package of `server.api` has the routes of one resource; `build` of `server.wiring.application` lists them, and builds
every object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import Lifespan

from server.authn import Authenticator
from server.authz.request_authorization import EnforcementPoint
from server.http.answer_room import AnswerRoom
from server.http.api_route import ApiRoute, checked
from server.http.authentication import Authentication
from server.http.cors import Cors, CorsHeaders, Preflights
from server.http.drain_guard import DrainGuard, Shutdown
from server.http.edge import EdgeGuard
from server.http.error_table import Envelopes, last_resort, routing_error
from server.http.fair_turns import FairTurns
from server.http.observation import Observation
from server.http.request_ids import RequestIds
from server.http.route_guard import RouteGuard
from server.http.route_index import IndexedRouter
from server.quota.admission import Admission, unlimited
from server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from server.telemetry.spans import Tracing  # OpenTelemetry is imported only where spans are exported


class RouteGroup(Protocol):
    """The handlers of one resource."""

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes of the resource, each with what it asks of the policy."""
        ...


@dataclass(frozen=True, slots=True)
class Components:
    """The objects that the application consists of.

    Paths are compared with the routes of `groups` in their order. `cors` is None where no other origin may call,
    `tracing` where no spans are exported.
    """

    groups: Sequence[RouteGroup]
    enforcement: EnforcementPoint
    authenticator: Authenticator | None
    cors: Cors | None
    ending: Shutdown
    lifespan: Lifespan[Starlette]
    metrics: Metrics
    tracing: Tracing | None = None
    admission: Admission = field(default_factory=unlimited)


def create_app(parts: Components) -> Starlette:
    """Return the application, for any ASGI server; `server.http.protocol.HttpProtocol` closes what such servers leave
    open.
    """
    routes = checked([route for group in parts.groups for route in group.routes()])
    middleware = [
        Middleware(RequestIds),
        Middleware(Observation, routes, parts.metrics, parts.tracing),
        # Before everything that refuses a request, so that pages of other origins can read every refusal.
        *([] if parts.cors is None else [Middleware(CorsHeaders, parts.cors)]),
        # Before all work, even that of a refusal.
        Middleware(FairTurns, parts.admission),
        Middleware(EdgeGuard),
        *([] if parts.cors is None else [Middleware(Preflights, parts.cors)]),
        Middleware(Envelopes),
        Middleware(DrainGuard, parts.ending),
        Middleware(AnswerRoom),
        Middleware(Authentication, parts.authenticator, parts.enforcement, parts.admission),
        Middleware(RouteGuard, routes),
    ]
    errors = {HTTPException: routing_error, Exception: last_resort}
    app = Starlette(middleware=middleware, exception_handlers=errors)
    app.router = IndexedRouter(routes, parts.lifespan)
    return app
