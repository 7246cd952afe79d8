"""The one fake of the policy engine, for tests that are about something else than decisions."""

from __future__ import annotations

from collections.abc import Sequence

from policy.vocabulary import Action, Decision, Resource, Route, Verdict
from server.authz.decision_log.record import Limited
from server.authz.pep import RequestContext
from server.authz.permit import MINT, Permit


class UnsafePermitAll:
    """Permits everything by a `rule` and asks nobody; keeps what it was asked."""

    def __init__(self, rule: str | None = None) -> None:
        reason = "unsafe: everything is permitted"
        self._decision = Decision(Verdict.PERMIT, rule, rule and "config.yaml:1", None, reason, "unsafe")
        self.asked: list[tuple[Route | None, Resource | None]] = []

    async def check_route(self, context: RequestContext, route: Route) -> None:
        """Yes."""
        self.asked.append((route, None))

    async def permit(
        self, context: RequestContext, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Yes."""
        self.asked.append((None, resource))
        return Permit(MINT, context.principal, action, resource, self._decision, "unsafe")

    async def permit_route_and_access(
        self, context: RequestContext, route: Route, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Yes to both."""
        self.asked.append((route, resource))
        return Permit(MINT, context.principal, action, resource, self._decision, "unsafe")

    async def readable(
        self, context: RequestContext, resources: Sequence[Resource], route: Route | None = None
    ) -> list[Permit]:
        """All of them."""
        if route is not None:
            await self.check_route(context, route)
        return [await self.permit(context, Action.READ, resource) for resource in resources]

    async def listed(
        self, context: RequestContext, kind: str, resources: Sequence[Resource], route: Route | None = None
    ) -> list[Permit]:
        """All of them."""
        return await self.readable(context, resources, route)

    async def stopped(self, context: RequestContext, route: Route, limited: Limited) -> None:
        """Nothing is written down."""
