"""One request's authorization: the gate through which handlers ask the policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from policy import vocabulary
from policy.vocabulary import Action, Anonymous, Principal, Resource
from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.question import NextQuestion, Question
from server.authz.decision_log.shield_record import ShieldVerdict
from server.authz.listing import Listing
from server.authz.permit import AccessDenied, Permit, RouteDenied, RoutePermit
from server.authz.request_context import RequestContext
from server.quota.admission import Limited, RequestCharge
from server.quota.storage_limit import StorageLimit

T = TypeVar("T")


class EnforcementPoint(Protocol):
    """The part of `server.authz.pep.PolicyEnforcementPoint` that a gate needs.

    A protocol because tests stand in for it: with an enforcement point that lives in the server's event loop, and with
    one that permits everything. Every method raises PolicyUnavailable where there is no decision.
    """

    async def check_route(self, context: RequestContext, route: vocabulary.Route) -> RoutePermit:
        """Return a permit to use the route; raises AccessDenied."""
        ...

    async def permit(
        self,
        context: RequestContext,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> Permit:
        """Return a permit to act on the resource; raises AccessDenied. The question `following` may go along."""
        ...

    async def permit_next(self, context: RequestContext, following: NextQuestion, made: Sequence[str] = ()) -> Permit:
        """Return what `permit` does, for a question that may have gone along with the last one."""
        ...

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: vocabulary.Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit, Permit]:
        """Return permits for both, asked in one question; raises AccessDenied. The question `following` may go
        along.
        """
        ...

    async def readable(self, context: RequestContext, resources: Sequence[Resource]) -> list[Permit]:
        """Return a permit for each resource that the caller may read, in order."""
        ...

    async def permit_route_and_readable(
        self, context: RequestContext, route: vocabulary.Route, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Return what `readable` returns, and a permit to use the route; raises AccessDenied if the caller may not use
        it.
        """
        ...

    async def listed(self, context: RequestContext, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """Return what `readable` returns, for all resources of the type `kind` that there are; logged as one list."""
        ...

    async def permit_route_and_listed(
        self, context: RequestContext, route: vocabulary.Route, kind: str, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Return what `listed` returns, and a permit to use the route; raises AccessDenied if the caller may not use
        it.
        """
        ...

    def listing(
        self, context: RequestContext, action: Action, kind: str, types: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[Listing]:
        """Return a context with the permit for those stored records of the type `kind` that its filter permits."""
        ...

    async def stopped(
        self, context: RequestContext, route: vocabulary.Route, permit: RoutePermit | None, limited: Limited
    ) -> None:
        """Log that a limit stops the request; `permit` is that of its route, if the policy was asked before."""
        ...

    async def shielded(self, context: RequestContext, permit: RoutePermit | None, verdict: ShieldVerdict) -> None:
        """Log what a shield has said of the texts of a request; `permit` is that of its route."""
        ...


class Gate:
    """One request's way to the policy. The first question through it asks about the route too.

    `silent` once the policy gave no answer about the route. A refusal of the route stands. `requires_token` where
    authentication is configured: then a refusal of the route says whether the caller sent no token. `shields` are those
    that the decisions so far require, in their order: whatever they permitted, no text of a model passes without them.
    """

    __slots__ = (
        "_context",
        "_following",
        "_is_asked",
        "_pep",
        "_permit",
        "_refused",
        "_route",
        "charge",
        "requires_token",
        "shields",
        "silent",
    )

    def __init__(
        self,
        pep: EnforcementPoint,
        context: RequestContext,
        route: vocabulary.Route,
        charge: RequestCharge | None = None,
        *,
        requires_token: bool,
    ) -> None:
        self._pep = pep
        self._context = context
        self._route = route
        self._permit: RoutePermit | None = None
        self._is_asked = False
        self._following: NextQuestion | None = None
        self.charge = charge
        self.requires_token = requires_token
        self.silent = False
        self._refused: RouteDenied | None = None
        self.shields: dict[str, None] = {}

    @property
    def judged(self) -> bool:
        """True once the policy has permitted the route."""
        return self._permit is not None

    @property
    def principal(self) -> Principal | Anonymous:
        """The caller, as its token says."""
        return self._context.principal

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return self._context.request_id

    def about(self, response_id: str) -> None:
        """Have the lines of the decision log name the response that the request makes."""
        self._context = replace(self._context, response_id=response_id)

    def act_as(self, principal: Principal | Anonymous) -> None:
        """Ask from now on about the caller as it is now, about the route again, too; a refusal of the route stands.

        An answer that is under way is about the caller as it was. Until the next one, lines of the decision log name
        the decision about the route that was made last.
        """
        self._context = replace(self._context, principal=principal)
        self._is_asked = False
        self._following = None

    def expect(self, action: Action, resource: Resource) -> None:
        """Have the policy asked about this together with what is asked next, if it is this that is asked after that.

        It saves an exchange, and changes nothing else: what is refused first is told first, and a decision that is
        not asked for is neither logged nor acted on. Anything else that is asked in between drops the reply.
        """
        self._following = NextQuestion(Question(self._context.principal, None, action, resource))

    @property
    def lacks_token(self) -> bool:
        """True for a caller without a token where authentication is configured."""
        return self.requires_token and isinstance(self._context.principal, Anonymous)

    @property
    def storage_limit(self) -> StorageLimit | None:
        """The limit of what the caller may keep, known once the route is permitted; None where there is none."""
        return None if self.charge is None else self.charge.storage

    def storage_limit_of(self, owner: Principal | None) -> StorageLimit | None:
        """Return `storage_limit` for records of that owner: None unless it is the caller."""
        caller = self._context.principal
        known = (caller.issuer, caller.id) if isinstance(caller, Principal) else None
        return self.storage_limit if known == (owner and (owner.issuer, owner.id)) else None

    async def enter(self) -> None:
        """Ask about the route and charge the request to the caller's quota, unless both are done.

        Raises RouteDenied, PolicyUnavailable, QuotaExceeded and CountersUnavailable.
        """
        if self._refused is not None:
            raise self._refused
        if not self._is_asked:
            context = self._context
            permit = await self._route_answer(self._pep.check_route(context, self._route))
            await self._settle(permit, context)

    async def permit(self, action: Action, resource: Resource, made: Sequence[str] = ()) -> Permit:
        """Return a permit to act on `resource`, asked together with the route where that is not permitted yet.

        `made` are the ids of the records that a create makes, for the decision log. Raises AccessDenied only where the
        caller may use the route, but may not do this to this resource; else what `enter` raises.
        """
        context = self._context
        following, self._following = self._following, None
        if following is not None and (following.reply is not None or following.asks(action, resource)):
            if following.reply is not None and following.asks(action, resource):
                return self._noted(await self._pep.permit_next(context, following, made))
            following = None
        if self._is_asked:
            permit = await self._pep.permit(context, action, resource, made, following)
        else:
            asked = self._pep.permit_route_and_access(context, self._route, action, resource, made, following)
            try:
                route_permit, permit = await self._route_answer(asked)
            except AccessDenied as denied:
                if denied.route_permit is not None:
                    await self._settle(denied.route_permit, context)
                raise
            await self._settle(route_permit, context)
        if following is not None and following.reply is not None and context.principal is self._context.principal:
            self._following = following
        return self._noted(permit)

    async def readable(self, resources: Sequence[Resource]) -> list[Permit]:
        """Return a permit for each of `resources` that the caller may read, in their order.

        The route is asked about together with them where it is not permitted yet. Raises what `enter` raises.
        """
        context = self._context
        self._following = None
        if self._is_asked:
            return [*map(self._noted, await self._pep.readable(context, resources))]
        asked = self._pep.permit_route_and_readable(context, self._route, resources)
        route_permit, permits = await self._route_answer(asked)
        await self._settle(route_permit, context)
        return [*map(self._noted, permits)]

    async def listed(self, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """Return what `readable` returns, for all resources of the type `kind` that there are; logged as one list."""
        context = self._context
        self._following = None
        if self._is_asked:
            return await self._pep.listed(context, kind, resources)
        asked = self._pep.permit_route_and_listed(context, self._route, kind, resources)
        route_permit, permits = await self._route_answer(asked)
        await self._settle(route_permit, context)
        return permits

    @asynccontextmanager
    async def listing(self, action: Action, kind: str, types: tuple[str, ...] = ()) -> AsyncIterator[Listing]:
        """Yield a permit to act on those stored records of the type `kind` that its filter permits.

        The list is logged when the context ends; nothing of it may be given out before that. Raises what `enter` does.
        """
        self._following = None
        await self.enter()
        async with self._pep.listing(self._context, action, kind, types) as listing:
            yield listing

    def pays_for_errors_alone(self) -> None:
        """Count the request only if it gets an error, since an earlier one has paid for what it is to get."""
        if self.charge is not None:
            self.charge.was_paid_before = True

    async def pay_for_error(self) -> None:
        """Count a request that `pays_for_errors_alone` and gets one; raises QuotaExceeded and CountersUnavailable."""
        if self.charge is not None:
            await self.charge.pay_after_all()

    def check_tokens(self) -> None:
        """Raise QuotaExceeded if the caller has no tokens left, for work that will need some."""
        if self.charge is not None:
            self.charge.check_tokens()

    async def stopped(self, limited: Limited) -> None:
        """Log that a limit stops the request; raises PolicyUnavailable where that can't be logged."""
        await self._pep.stopped(self._context, self._route, self._permit, limited)

    async def shielded(self, verdict: ShieldVerdict) -> None:
        """Log what a shield has said of the request's texts; raises PolicyUnavailable where that can't be logged."""
        await self._pep.shielded(self._context, self._permit, verdict)

    async def _route_answer(self, asked: Awaitable[T]) -> T:
        """Return the answer to a question that is about the route too; raises RouteDenied where that is refused."""
        try:
            return await asked
        except AccessDenied as denied:
            if denied.of_route:
                self._refused = RouteDenied(denied.decision_id, token_missing=self.lacks_token, path=self._route.path)
                raise self._refused from None
            raise
        except PolicyUnavailable:
            self.silent = True
            raise

    def _noted(self, permit: Permit) -> Permit:
        """Return the permit, whose shields are required from now on."""
        if permit.shields:
            self.shields.update(dict.fromkeys(permit.shields))
        return permit

    async def _settle(self, permit: RoutePermit, asked: RequestContext) -> None:
        """Keep the permit of the route, which was `asked` about so, and charge the request to the quota that it
        names.
        """
        self._permit = permit
        # Where the caller has become another since, its route is asked about next.
        self._is_asked = asked.principal is self._context.principal
        self.shields.update(dict.fromkeys(permit.shields))
        if self.charge is not None:
            await self.charge.pay(permit.limit)
