"""Work that goes on after the request that asked for it, as the caller who made that request."""

from __future__ import annotations

from typing import Final

from policy.vocabulary import Anonymous, Principal, Route
from server.authz.pep import RequestContext
from server.authz.request_authorization import EnforcementPoint, Gate
from server.fairness.caller import Caller
from server.http.request_state import new_request_id
from server.quota.admission import Admission

_NO_ADDRESS: Final = ""
"""The address of callers without a token, which is kept nowhere: what is done for them later, they share."""


class DeferredRequests:
    """Makes gates for work that is done later: it passes the same questions and the same quota as a request would.

    The caller is known as it was when it asked, with the attributes that its token had then.
    """

    def __init__(self, enforcement: EnforcementPoint, admission: Admission, *, requires_token: bool) -> None:
        self._enforcement = enforcement
        self._admission = admission
        self._requires_token = requires_token

    def gate(self, owner: Principal | None, method: str, path: str) -> Gate:
        """Return the gate of that caller for what it could ask for at that route; None is a caller without a token."""
        principal = _principal(owner)
        context = RequestContext(new_request_id(), principal)
        charge = self._admission.charge(path, principal, _NO_ADDRESS)
        return Gate(self._enforcement, context, Route(method, path), charge, requires_token=self._requires_token)

    def caller(self, owner: Principal | None) -> Caller:
        """Return the caller whose fair shares such work uses."""
        return self._admission.caller(_principal(owner), _NO_ADDRESS)


def _principal(owner: Principal | None) -> Principal | Anonymous:
    return Anonymous() if owner is None else owner
