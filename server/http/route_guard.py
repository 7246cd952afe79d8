"""The guard that asks the policy about the route of a request before its handler answers.

A handler reaches the policy through its request's `Gate` alone. The handlers of an `AskingRoute` put route and resource
into one question of their own; the guard refuses the answer of one that has not asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.authz.contract.errors import PolicyUnavailable
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.http.api_route import AskingRoute
from server.http.errors import ClientGone
from server.http.request_state import gate_of
from server.http.route_index import RouteIndex
from server.http.websocket.turns import ENTRY, Entry


class RouteGuard:
    """Asks the policy about the route of every request, also where no route has that path."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        asking = [route for route in routes if isinstance(route, AskingRoute)]
        self._plain = {
            (route.path, method): route
            for route in asking
            if not route.param_convertors
            for method in route.methods or ()
        }
        self._others = RouteIndex(route for route in asking if route.param_convertors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if the policy permits its route; the handlers of an `AskingRoute` ask themselves.

        The question whether a WebSocket may be opened, or may stay, is answered here.

        Raises what `Gate.enter` raises, and RuntimeError for an answer that no question came before.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        gate = gate_of(scope)
        entry: Entry | None = scope.get(ENTRY)
        if entry is not None:
            if entry.asks_policy:
                await gate.enter()
            entry.caller = CURRENT.get()
            await Response(status_code=204)(scope, receive, send)
            return
        route = self._asking(scope)
        if route is not None and route.paid_before:
            gate.pays_for_errors_alone()
        # The body of a request without a token is not read before the policy permits such requests.
        if gate.lacks_token or route is None:
            await gate.enter()
            await self.app(scope, receive, send)
            return

        async def send_judged(message: Message) -> None:
            if message["type"] == "http.response.start" and not gate.judged:
                _check_silence(gate, message)
            await send(message)

        try:
            await self.app(scope, receive, send_judged)
        except (ClientGone, PolicyUnavailable, NoRoom):
            raise
        except Exception:
            # Only a caller that may use the route learns what is wrong with its request.
            await gate.enter()
            await gate.pay_for_error()
            raise

    def _asking(self, scope: Scope) -> AskingRoute | None:
        # Most paths have no parameters, and need no regular expression to be compared with.
        plain = self._plain.get((scope["path"], scope["method"]))
        if plain is not None:
            return plain
        others = self._others.of(scope["path"])
        return next((route for route in others if route.matches(scope)[0] is Match.FULL), None)


def _check_silence(gate: Gate, message: Message) -> None:
    """Raise RuntimeError unless the answer is the 503 of a missing decision, the one answer without a decision."""
    if not (gate.silent and message["status"] == 503):
        raise RuntimeError("a handler answered without having asked the policy")
