"""The map of the house: every route, every guard in its order, and what happens when something goes wrong.

A request comes in from the top of `guards`. The edge refuses what is malformed, authentication turns a token into a
principal, the route guard asks the policy engine, and a handler answers. `AskingRoute` marks the handlers that ask
about route and resource in one question of their own. Concrete classes meet in `server.wiring.application`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import Lifespan

from policy.vocabulary import Action, type_of_record
from server.api.chat.routes import ChatCompletions
from server.api.models.routes import Models
from server.api.system.health import HealthRoutes
from server.api.system.metrics import MetricsPage
from server.api.system.providers import ProviderRoutes
from server.authn import Authenticator
from server.authz.request_authorization import EnforcementPoint
from server.http.api_route import ROUTE_ALONE, ApiRoute, AskingRoute, checked
from server.http.authentication import Authentication
from server.http.cors import Cors, CorsHeaders, Preflights
from server.http.drain_guard import DrainGuard, Shutdown
from server.http.edge import EdgeGuard
from server.http.error_table import Envelopes, last_resort, routing_error
from server.http.observation import Observation
from server.http.request_ids import RequestIds
from server.http.route_guard import RouteGuard
from server.quota.admission import Admission, unlimited
from server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from server.telemetry.spans import Tracing  # OpenTelemetry is imported only where spans are exported


class RouteGroup(Protocol):
    """What serves one kind of stored records."""

    def routes(self) -> list[ApiRoute]:
        """Its routes, each with what it asks."""
        ...


@dataclass(frozen=True, slots=True)
class Components:
    """Everything that the application is made of.

    `cors` is None where no other origin may call, `tracing` where spans are not exported, `metrics_page` where no rules
    say who may see it.
    """

    enforcement: EnforcementPoint
    authenticator: Authenticator | None
    cors: Cors | None
    health: HealthRoutes
    models: Models
    providers: ProviderRoutes
    chat: ChatCompletions
    ending: Shutdown
    lifespan: Lifespan[Starlette]
    metrics: Metrics
    metrics_page: MetricsPage | None
    tracing: Tracing | None = None
    admission: Admission = field(default_factory=unlimited)
    collections: Sequence[RouteGroup] = ()


def routes(house: Components) -> list[BaseRoute]:
    """Every path that there is; the one that most requests are for is compared first."""
    return [
        AskingRoute(
            "/v1/chat/completions",
            house.chat.create,
            asks=[(Action.READ, "model")],
            may_ask=[(Action.CREATE, type_of_record("chat_completions"))],
            methods=["POST"],
            name="chat.completions.create",
        ),
        ApiRoute("/v1/health", house.health.alive, asks=ROUTE_ALONE, name="health"),
        AskingRoute(
            "/v1/health/ready",
            house.health.ready,
            asks=ROUTE_ALONE,
            may_ask=[(Action.READ, "provider")],
            name="health.ready",
        ),
        ApiRoute("/v1/version", house.health.version, asks=ROUTE_ALONE, name="version"),
        *(
            [ApiRoute("/metrics", house.metrics_page.show, asks=ROUTE_ALONE, name="metrics")]
            if house.metrics_page is not None
            else []
        ),
        AskingRoute("/v1/models", house.models.list, asks=[(Action.READ, "model")], name="models.list"),
        AskingRoute(
            "/v1/models/{model_id:path}", house.models.retrieve, asks=[(Action.READ, "model")], name="models.retrieve"
        ),
        ApiRoute("/v1/providers", house.providers.list, asks=[(Action.READ, "provider")], name="providers.list"),
        AskingRoute(
            "/v1/providers/{provider_id}",
            house.providers.retrieve,
            asks=[(Action.READ, "provider")],
            name="providers.retrieve",
        ),
        *chain.from_iterable(collection.routes() for collection in house.collections),
    ]


def create_app(house: Components) -> Starlette:
    """The application, for any ASGI server; `server.http.protocol.HttpProtocol` closes what such servers leave open."""
    paths = checked(routes(house))
    guards = [
        Middleware(RequestIds),
        Middleware(Observation, paths, house.metrics, house.tracing),
        # Outside of whatever refuses a request, so that pages can read every refusal.
        *([] if house.cors is None else [Middleware(CorsHeaders, house.cors)]),
        Middleware(EdgeGuard),
        *([] if house.cors is None else [Middleware(Preflights, house.cors)]),
        Middleware(Envelopes),
        Middleware(DrainGuard, house.ending),
        Middleware(Authentication, house.authenticator, house.enforcement, house.admission),
        Middleware(RouteGuard, paths),
    ]
    errors = {HTTPException: routing_error, Exception: last_resort}
    app = Starlette(routes=paths, middleware=guards, exception_handlers=errors, lifespan=house.lifespan)
    # `/v1/files/` is `/v1/files` already when it gets here; a redirect would be a second meaning.
    app.router.redirect_slashes = False
    return app
