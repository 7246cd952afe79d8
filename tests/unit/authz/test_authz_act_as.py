"""Gates whose caller becomes another while they are used: which caller each question is about, and what is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from policy.vocabulary import Action, Principal, Resource, Route
from server.authz.contract.question import NextQuestion
from server.authz.decision_log.shield_record import ShieldVerdict
from server.authz.permit import Permit, RoutePermit
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from tests.support.unsafe_policy import ROUTE_PERMIT, UnsafePermitAll

BEFORE = Principal("ann", "https://issuer", {"roles": ("admin",)})
AFTER = Principal("ann", "https://issuer", {"roles": ()})
MODEL = Resource("model", ("m",))
ROUTE = Route("POST", "/v1/responses")

WAYS: dict[str, Callable[[Gate], Awaitable[Any]]] = {
    "enter": lambda gate: gate.enter(),
    "permit": lambda gate: gate.permit(Action.READ, MODEL),
    "readable": lambda gate: gate.readable([MODEL]),
    "listed": lambda gate: gate.listed("model", [MODEL]),
}


class Watched(UnsafePermitAll):
    """Notes the caller that each route is asked for, and does something `meantime` before it answers about one."""

    def __init__(self) -> None:
        super().__init__()
        self.meantime: Callable[[], None] = lambda: None
        self.callers: list[Any] = []
        self.named: list[RoutePermit | None] = []

    async def check_route(self, context: RequestContext, route: Route) -> RoutePermit:
        """Yes, once the meantime is over."""
        self.callers.append(context.principal)
        self.meantime()
        return await super().check_route(context, route)

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit, Permit]:
        """Yes to both, once the meantime is over."""
        self.callers.append(context.principal)
        self.meantime()
        return await super().permit_route_and_access(context, route, action, resource, made, following)

    async def shielded(self, context: RequestContext, permit: RoutePermit | None, verdict: ShieldVerdict) -> None:
        """Note the permit that is named."""
        self.named.append(permit)


def gate_to(policy: Watched) -> Gate:
    return Gate(policy, RequestContext("req_1", BEFORE), ROUTE, requires_token=True)


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_about_the_caller_as_it_was_does_not_permit_the_route_to_it_as_it_is(way: str) -> None:
    async def course() -> None:
        policy = Watched()
        gate = gate_to(policy)
        policy.meantime = lambda: gate.act_as(AFTER)
        await WAYS[way](gate)
        policy.meantime = lambda: None
        await gate.permit(Action.READ, MODEL)
        assert policy.callers == [BEFORE, AFTER]
        await gate.permit(Action.READ, MODEL)
        assert policy.callers == [BEFORE, AFTER]

    asyncio.run(course())


def test_a_verdict_of_a_shield_names_the_last_decision_about_the_route() -> None:
    async def course() -> None:
        policy = Watched()
        gate = gate_to(policy)
        await gate.enter()
        gate.act_as(AFTER)
        await gate.shielded(ShieldVerdict("s", "output", "passed", (), 1))
        assert policy.named == [ROUTE_PERMIT]

    asyncio.run(course())
