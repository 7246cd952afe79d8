"""The one fake of the policy engine, for tests that are about something else than decisions."""

from __future__ import annotations

from collections.abc import Sequence

from policy.vocabulary import Action, Decision, Resource, Route, Verdict
from server.authz.contract.question import NextQuestion
from server.authz.decision_log.shield_record import ShieldVerdict
from server.authz.permit import MINT, Permit, RoutePermit
from server.authz.request_context import RequestContext
from server.quota.admission import Limited

ROUTE_PERMIT = RoutePermit(MINT, None, "unsafe", "unsafe")


class UnsafePermitAll:
    """Permits everything by a `rule` and asks nobody; keeps what it was asked."""

    def __init__(self, rule: str | None = None) -> None:
        reason = "unsafe: everything is permitted"
        self._decision = Decision(Verdict.PERMIT, rule, rule and "config.yaml:1", None, reason, "unsafe")
        self.asked: list[tuple[Route | None, Resource | None]] = []

    async def check_route(self, context: RequestContext, route: Route) -> RoutePermit:
        """Yes."""
        self.asked.append((route, None))
        return ROUTE_PERMIT

    async def permit(
        self,
        context: RequestContext,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> Permit:
        """Yes."""
        self.asked.append((None, resource))
        return Permit(MINT, context.principal, action, resource, self._decision, "unsafe")

    async def permit_next(self, context: RequestContext, following: NextQuestion, made: Sequence[str] = ()) -> Permit:
        """Never asked, since nothing goes along."""
        raise NotImplementedError

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit, Permit]:
        """Yes to both."""
        self.asked.append((route, resource))
        return ROUTE_PERMIT, Permit(MINT, context.principal, action, resource, self._decision, "unsafe")

    async def readable(self, context: RequestContext, resources: Sequence[Resource]) -> list[Permit]:
        """All of them."""
        return [await self.permit(context, Action.READ, resource) for resource in resources]

    async def permit_route_and_readable(
        self, context: RequestContext, route: Route, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """All of them."""
        return await self.check_route(context, route), await self.readable(context, resources)

    async def listed(self, context: RequestContext, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """All of them."""
        return await self.readable(context, resources)

    async def permit_route_and_listed(
        self, context: RequestContext, route: Route, kind: str, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """All of them."""
        return await self.permit_route_and_readable(context, route, resources)

    async def stopped(
        self, context: RequestContext, route: Route, permit: RoutePermit | None, limited: Limited
    ) -> None:
        """Nothing is written down."""

    async def shielded(self, context: RequestContext, permit: RoutePermit | None, verdict: ShieldVerdict) -> None:
        """Nothing is written down."""
