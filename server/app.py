"""The map of the house: every route, every guard in its order, and what happens when something goes wrong.

A request comes in from the top of `guards`. The edge refuses what is malformed, authentication turns a token into a
principal, the route guard asks the policy engine, and a handler answers. `AskingRoute` marks the handlers that ask
about route and resource in one question of their own. Concrete classes meet in `server.wiring`.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from server.api.chat import ChatCompletions
from server.api.cors import Cors, CorsPolicy
from server.api.errors import Envelopes, last_resort, routing_error
from server.api.health import Health
from server.api.models import Models
from server.api.providers import Providers
from server.authn import Authenticator
from server.edge import EdgeGuard
from server.guards import AskingRoute, Authentication, EnforcementPoint, RouteGuard
from server.requests import RequestIds


@dataclass(frozen=True, slots=True)
class House:
    """Everything that the application is made of; `cors` is None where no other origin may call."""

    enforcement: EnforcementPoint
    authenticator: Authenticator | None
    cors: CorsPolicy | None
    health: Health
    models: Models
    providers: Providers
    chat: ChatCompletions
    lifespan: Lifespan[Starlette]


def routes(house: House) -> list[BaseRoute]:
    """Every path that there is; the one that most requests are for is compared first."""
    return [
        AskingRoute("/v1/chat/completions", house.chat.create, methods=["POST"], name="chat.completions.create"),
        Route("/v1/health", house.health.alive, name="health"),
        AskingRoute("/v1/health/ready", house.health.ready, name="health.ready"),
        Route("/v1/version", house.health.version, name="version"),
        Route("/v1/models", house.models.list, name="models.list"),
        AskingRoute("/v1/models/{model_id:path}", house.models.retrieve, name="models.retrieve"),
        Route("/v1/providers", house.providers.list, name="providers.list"),
        AskingRoute("/v1/providers/{provider_id}", house.providers.retrieve, name="providers.retrieve"),
    ]


def create_app(house: House) -> Starlette:
    """The application, for any ASGI server; `server.http1.DoorProtocol` closes what such servers leave open."""
    paths = routes(house)
    guards = [
        Middleware(RequestIds),
        Middleware(EdgeGuard),
        *([] if house.cors is None else [Middleware(Cors, house.cors)]),
        Middleware(Envelopes),
        Middleware(Authentication, house.authenticator, house.enforcement),
        Middleware(RouteGuard, paths),
    ]
    errors = {HTTPException: routing_error, Exception: last_resort}
    app = Starlette(routes=paths, middleware=guards, exception_handlers=errors, lifespan=house.lifespan)
    # `/v1/files/` is `/v1/files` already when it gets here; a redirect would be a second meaning.
    app.router.redirect_slashes = False
    return app
