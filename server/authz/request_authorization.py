"""One request's authorization: the gate through which handlers ask the policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

from policy import vocabulary
from policy.vocabulary import Action, Anonymous, Resource
from server.authz.contract.errors import PolicyUnavailable
from server.authz.decision_log.record import Limited
from server.authz.pep import Listing, RequestContext
from server.authz.permit import AccessDenied, Permit
from server.http.errors import ApiError, access_denied, unauthenticated
from server.quota.admission import RequestCharge


class EnforcementPoint(Protocol):
    """What the door needs of `server.authz.pep.PolicyEnforcementPoint`."""

    async def check_route(self, context: RequestContext, route: vocabulary.Route) -> None:
        """Return if the caller may use the route; raises AccessDenied or PolicyUnavailable."""
        ...

    async def permit(
        self, context: RequestContext, action: Action, resource: Resource, made: Sequence[str] = ()
    ) -> Permit:
        """Leave to act on the resource; raises AccessDenied or PolicyUnavailable."""
        ...

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: vocabulary.Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
    ) -> Permit:
        """Both in one question."""
        ...

    async def readable(
        self, context: RequestContext, resources: Sequence[Resource], route: vocabulary.Route | None = None
    ) -> list[Permit]:
        """Leave to read each resource that the caller may read, in order; AccessDenied if it may not use the route."""
        ...

    async def listed(
        self, context: RequestContext, kind: str, resources: Sequence[Resource], route: vocabulary.Route | None = None
    ) -> list[Permit]:
        """The same for all resources of a type that there are, logged as one list."""
        ...

    def listing(
        self, context: RequestContext, action: Action, kind: str, types: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[Listing]:
        """Leave to act on those stored records of a type that its filter permits; logged when the context ends."""
        ...

    async def stopped(self, context: RequestContext, route: vocabulary.Route, limited: Limited) -> None:
        """Write down that a limit stops the request; raises PolicyUnavailable."""
        ...


class Gate:
    """One request's way to the policy.

    `judged` once the policy has allowed the route; `silent` once it gave no answer. A refusal of the route stands.
    `requires_token` says that authentication is configured, so that a caller without a token is asked for one where it
    is refused.
    """

    __slots__ = ("_context", "_pep", "_refused", "_route", "charge", "judged", "requires_token", "silent")

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
        self.charge = charge
        self.requires_token = requires_token
        self.judged = False
        self.silent = False
        self._refused: ApiError | None = None

    @property
    def lacks_token(self) -> bool:
        """The caller presented no token where one could be had."""
        return self.requires_token and isinstance(self._context.principal, Anonymous)

    async def enter(self) -> None:
        """Ask about the route and pay its toll, unless that is settled.

        Raises the 401 or 403 of a refusal, PolicyUnavailable, QuotaExceeded and CountersUnavailable.
        """
        if self.judged:
            return
        if self._refused is not None:
            raise self._refused
        try:
            await self._pep.check_route(self._context, self._route)
        except AccessDenied as denied:
            raise self._refusal(denied) from None
        except PolicyUnavailable:
            self.silent = True
            raise
        await self._settle()

    async def permit(self, action: Action, resource: Resource, made: Sequence[str] = ()) -> Permit:
        """Leave to act on `resource`, asked together with the route where that is not settled.

        `made` are the ids of the records that a create makes, for the decision log. Raises AccessDenied only where the
        caller may use the route, but may not do this to this resource; else what `enter` raises.
        """
        if self.judged:
            return await self._pep.permit(self._context, action, resource, made)
        try:
            permit = await self._pep.permit_route_and_access(self._context, self._route, action, resource, made)
        except AccessDenied as denied:
            if denied.of_route:
                raise self._refusal(denied) from None
            await self._settle()
            raise
        except PolicyUnavailable:
            self.silent = True
            raise
        await self._settle()
        return permit

    async def readable(self, resources: Sequence[Resource]) -> list[Permit]:
        """Leave to read each of `resources` that the caller may read, in their order.

        The route is asked about together with them where that is not settled. Raises what `enter` raises.
        """
        return await self._entering(partial(self._pep.readable, self._context, resources))

    async def listed(self, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """The same for all resources of the type `kind` that there are, logged as one list."""
        return await self._entering(partial(self._pep.listed, self._context, kind, resources))

    @asynccontextmanager
    async def listing(self, action: Action, kind: str, types: tuple[str, ...] = ()) -> AsyncIterator[Listing]:
        """Leave to act on those stored records of the type `kind` that its filter permits.

        The list is logged when the context ends; nothing of it may be given out before that.
        """
        await self.enter()
        async with self._pep.listing(self._context, action, kind, types) as listing:
            yield listing

    async def stopped(self, limited: Limited) -> None:
        """Write down that a limit stops the request."""
        await self._pep.stopped(self._context, self._route, limited)

    async def _entering(self, ask: Callable[..., Awaitable[list[Permit]]]) -> list[Permit]:
        """What `ask` brings, which takes the route as a further argument where that is not settled."""
        if self.judged:
            return await ask()
        try:
            permits = await ask(self._route)
        except AccessDenied as denied:
            raise self._refusal(denied) from None
        except PolicyUnavailable:
            self.silent = True
            raise
        await self._settle()
        return permits

    async def _settle(self) -> None:
        """The policy allows the route, so what it costs is due."""
        self.judged = True
        if self.charge is not None:
            await self.charge.pay(self._context.limit)

    def _refusal(self, denied: AccessDenied) -> ApiError:
        self._refused = unauthenticated(denied) if self.lacks_token else access_denied(denied)
        return self._refused
