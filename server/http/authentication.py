"""Authentication: the bearer token of a request becomes its principal."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from policy import vocabulary
from policy.vocabulary import Anonymous
from server.authn import Authenticator
from server.authn.bearer import bearer_token
from server.authz.pep import RequestContext
from server.authz.request_authorization import EnforcementPoint, Gate
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.http.request_state import state_of
from server.quota.admission import Admission, TooManyAtOnce, limited_by
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded

_ANONYMOUS: Final = Anonymous()


class Authentication:
    """Turns the bearer token into a principal, and sets the caller whose fair shares the request uses.

    Without an authenticator, every caller is anonymous. A token that proves nothing is refused here, even where the
    policy would permit the request without a token. So is a caller that has too many requests under way.
    """

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator | None, pep: EnforcementPoint, admission: Admission
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
        call, admission = state_of(scope), self._admission
        address = admission.addresses.of(scope)
        # Until the token is known to be a caller's, the work for it is shared by address.
        CURRENT.set(admission.sharer(scope["path"], _ANONYMOUS, address))
        principal = _ANONYMOUS if self._authenticator is None else await _identify(self._authenticator, scope)
        context = RequestContext(call.request_id, principal)
        route = vocabulary.Route(scope["method"], scope["path"])
        charge = admission.charge(route.path, principal, address)
        CURRENT.set(admission.sharer(route.path, principal, address))
        call.gate = Gate(self._pep, context, route, charge, requires_token=self._authenticator is not None)
        try:
            with admission.passing(route.path, principal, address):
                await self.app(scope, receive, send)
        except (QuotaExceeded, CountersUnavailable, TooManyAtOnce, NoRoom) as fault:
            await call.gate.stopped(limited_by(fault))
            raise


async def _identify(authenticator: Authenticator, scope: Scope) -> vocabulary.Principal | Anonymous:
    token = bearer_token(scope["headers"])
    return _ANONYMOUS if token is None else await authenticator.authenticate(token, scope)
