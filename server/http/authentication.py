"""Authentication: the bearer token of a request becomes its principal."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from policy import vocabulary
from policy.vocabulary import Anonymous, Principal
from server.authn import AuthenticationFailed, Authenticator
from server.authz.request_authorization import EnforcementPoint, Gate
from server.authz.request_context import RequestContext
from server.fairness.caller import CURRENT
from server.fairness.places import leave_place
from server.fairness.shares import NoRoom
from server.http.acting import Acting, acting_of
from server.http.credentials import token_of
from server.http.request_state import state_of, turn_of
from server.quota.admission import Admission, TooManyAtOnce, at_path, limited_by
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.quota.storage_limit import StorageExceeded

_ANONYMOUS: Final = Anonymous()
_LIMITS: Final = (QuotaExceeded, CountersUnavailable, StorageExceeded, TooManyAtOnce, NoRoom)


class Authentication:
    """Turns the bearer token into a principal, and sets the caller whose fair shares the request uses.

    Without an authenticator, every caller is anonymous. A token that proves nothing is refused here, even where the
    policy would permit the request without a token. So is a caller that has too many requests under way.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator | None,
        pep: EnforcementPoint,
        admission: Admission,
    ) -> None:
        self.app = app
        self._authenticator = authenticator
        self._pep = pep
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a gate that knows the caller."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        acting = acting_of(scope)
        if acting is not None:
            await self._act(acting, scope, receive, send)
            return
        call, admission, turn = state_of(scope), self._admission, turn_of(scope)
        address = admission.addresses.of(scope)
        # Until the token is known to be a caller's, the work for it is shared by address.
        CURRENT.set(at_path(scope["path"], admission.caller(_ANONYMOUS, address)))
        principal = await self._identify(scope)
        context = RequestContext(call.request_id, principal)
        route = vocabulary.Route(scope["method"], scope["path"])
        charge = admission.charge(route.path, principal, address)
        caller = admission.caller(principal, address)
        if call.token_digest is not None and isinstance(principal, Principal):
            admission.known.remember(call.token_digest, caller)
            admission.shown.note(principal)
        caller = at_path(route.path, caller)
        CURRENT.set(caller)
        call.gate = Gate(self._pep, context, route, charge, requires_token=self._authenticator is not None)
        try:
            with admission.passing(route.path, principal, address):
                await turn.pass_to(caller)
                await self.app(scope, receive, send)
        except _LIMITS as fault:
            await call.gate.stopped(limited_by(fault))
            raise

    async def _act(self, acting: Acting, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that the server makes as a caller whom it knows."""
        call, admission, principal = state_of(scope), self._admission, acting.principal
        route = vocabulary.Route(scope["method"], scope["path"])
        acting.charge = charge = admission.charge(route.path, principal, acting.address, is_paid=acting.is_paid)
        context = RequestContext(call.request_id, principal)
        call.gate = Gate(self._pep, context, route, charge, requires_token=self._authenticator is not None)
        acting.has_entered = True
        try:
            with admission.passing_later(principal, acting.address):
                await self.app(scope, receive, send)
        except Exception as fault:
            acting.fault = fault
            if isinstance(fault, _LIMITS):
                await call.gate.stopped(limited_by(fault))
            raise

    async def _identify(self, scope: Scope) -> Principal | Anonymous:
        token = None if self._authenticator is None else token_of(scope)
        if self._authenticator is None or token is None:
            return _ANONYMOUS
        digest = state_of(scope).token_digest
        if digest is None or self._admission.known.caller(digest) is None:
            leave_place()  # authentication has shares of its own for tokens that are not known
        try:
            return await self._authenticator.authenticate(token, scope)
        except AuthenticationFailed:
            if digest is not None:
                self._admission.known.forget(digest)
            raise
