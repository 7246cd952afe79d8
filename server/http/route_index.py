"""The routes that a path can belong to, found without comparing it with every one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from starlette.applications import Starlette
from starlette.routing import Match, Route, Router
from starlette.types import Lifespan, Receive, Scope, Send

R = TypeVar("R", bound=Route)

_SEGMENTS = 2


class RouteIndex(Generic[R]):
    """Routes by the first two segments of their paths, which have no parameters (`/v1/models`)."""

    def __init__(self, routes: Iterable[R]) -> None:
        """Raise ValueError for a route with a parameter in these segments."""
        self._by_start: dict[str, list[R]] = {}
        for route in routes:
            start = _start(route.path)
            if "{" in start:
                raise ValueError(f"the route `{route.path}` has a parameter in its first {_SEGMENTS} segments")
            self._by_start.setdefault(start, []).append(route)

    def of(self, path: str) -> Sequence[R]:
        """Return the routes that may have that path, in their order."""
        return self._by_start.get(_start(path), ())


class IndexedRouter(Router):
    """Starlette's router, which finds most routes by their index; the routes never change."""

    def __init__(self, routes: Sequence[Route], lifespan: Lifespan[Starlette]) -> None:
        # The edge has already taken the slash from the end of `/v1/files/`; a redirect would give it a second meaning.
        super().__init__(routes, redirect_slashes=False, lifespan=lifespan)
        self._index = RouteIndex(routes)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the first route that it fits; Starlette answers for it where there is none."""
        if scope["type"] == "http":
            for route in self._index.of(scope["path"]):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found, router=self, route=route)
                    await route.handle(scope, receive, send)
                    return
        await super().app(scope, receive, send)


def _start(path: str) -> str:
    return "/".join(path.split("/", _SEGMENTS + 1)[: _SEGMENTS + 1])
