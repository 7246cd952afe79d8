"""The routes of the API, each with what its handler asks the policy about resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from policy.resource_types import TYPES, Ask
from policy.served_routes import SERVED

ROUTE_ALONE: Final[tuple[Ask, ...]] = ()
"""The `asks` of a route that is about no resource: the policy decides about the route, and about nothing else."""

_SERVED: Final = {(served.method, served.path): served for served in SERVED}

Handler = Callable[[Request], Awaitable[Response]]


class ApiRoute(Route):
    """A route that the policy is asked about before its handler runs.

    `asks` are the questions about resources without whose permission a request gets nothing but a refusal or an empty
    list; the first is about the resource that the route serves. `may_ask` are those that some requests bring besides.
    (Where a change is refused, the policy is also asked whether the caller may read the resource.)
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        asks: Sequence[Ask],
        may_ask: Sequence[Ask] = (),
        methods: Sequence[str] = ("GET",),
        name: str,
    ) -> None:
        """Raise ValueError if a question is about a type that isn't served."""
        super().__init__(path, handler, methods=[*methods], name=name)
        # Starlette's own would catch exceptions, as the middleware in front of every route does too.
        self.app = answering(handler)
        self.asks, self.may_ask = tuple(asks), tuple(may_ask)
        for _, kind in (*self.asks, *self.may_ask):
            if kind not in TYPES or not TYPES[kind].served:
                raise ValueError(f"the route `{path}` asks about `{kind}`, which is no type that is served")


def answering(handler: Handler) -> ASGIApp:
    """Return the application that sends what a handler answers to a request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


class AskingRoute(ApiRoute):
    """A route whose handler puts its own question to the gate, route and resource in one.

    Where `paid_before`, a request that succeeds gets what an earlier one has paid for, and isn't counted by the quota.
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        asks: Sequence[Ask],
        may_ask: Sequence[Ask] = (),
        methods: Sequence[str] = ("GET",),
        name: str,
        paid_before: bool = False,
    ) -> None:
        super().__init__(path, handler, asks=asks, may_ask=may_ask, methods=methods, name=name)
        self.paid_before = paid_before


def checked(routes: Iterable[BaseRoute]) -> list[ApiRoute]:
    """Return the routes.

    Raises TypeError for a route that doesn't say what it asks, and ValueError for one whose questions are not in
    `policy.served_routes`, from which warnings about policies take them.
    """
    found = []
    for route in routes:
        if not isinstance(route, ApiRoute):
            raise TypeError(f"the route `{getattr(route, 'path', route)}` doesn't say what it asks")
        for method in (route.methods or set()) - {"HEAD"}:
            served = _SERVED.get((method, route.path))
            if served is None or {*served.needs} != {*route.asks} or {*served.may_need} != {*route.may_ask}:
                raise ValueError(f"`policy.served_routes` doesn't have what `{method} {route.path}` asks")
        found.append(route)
    return found
