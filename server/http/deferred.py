"""Work that goes on after the request that asked for it, as the caller who made that request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import Final

from starlette.requests import Request
from starlette.types import Message

from policy.vocabulary import Anonymous, Principal, Route
from server.authz.contract.errors import PolicyUnavailable
from server.authz.request_authorization import EnforcementPoint, Gate
from server.authz.request_context import RequestContext
from server.fairness.caller import Caller
from server.fairness.shares import NoRoom
from server.fairness.shown_callers import ShownCallers
from server.http.request_state import RequestState, new_request_id, scope_of
from server.quota.admission import Admission, limited_by
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.quota.storage_limit import StorageExceeded

_NO_ADDRESS: Final = ""
"""The address where none is known; all callers without a token share what is done later for it."""


class DeferredRequests:
    """Makes gates for work that is done later: it passes the same questions and the same quota as a request would.

    The caller is known as the one who defers the work knows it: as it was when it asked, or as it has shown itself
    since.
    """

    def __init__(self, enforcement: EnforcementPoint, admission: Admission, *, requires_token: bool) -> None:
        self._enforcement = enforcement
        self._admission = admission
        self._requires_token = requires_token

    def gate(
        self, owner: Principal | None, method: str, path: str, *, address: str = _NO_ADDRESS, is_paid: bool = False
    ) -> Gate:
        """Return the gate of that caller for what it could ask for at that route; None is a caller without a token,
        which has that address.

        Where the request `is_paid` already, no other one is taken of the caller's quota.
        """
        principal = _principal(owner)
        context = RequestContext(new_request_id(), principal)
        charge = self._admission.charge(path, principal, address, is_paid=is_paid)
        return Gate(self._enforcement, context, Route(method, path), charge, requires_token=self._requires_token)

    @property
    def yields(self) -> bool:
        """True while requests wait for their turns, which come before work that is deferred."""
        return self._admission.waiting() > 0

    @property
    def most_at_once(self) -> int | None:
        """The number of requests that one caller may have under way here, beside its own; None is no limit."""
        return self._admission.concurrency.most

    @property
    def shown(self) -> ShownCallers:
        """What callers have shown of themselves to this process."""
        return self._admission.shown

    def caller(self, owner: Principal | None, address: str = _NO_ADDRESS) -> Caller:
        """Return the caller whose fair shares such work uses."""
        return self._admission.caller(_principal(owner), address)


def request_of(gate: Gate, method: str, path: str) -> Request:
    """Return a request that the caller of a gate could have made, whose client never leaves."""
    call = RequestState(gate.request_id, perf_counter(), _unheard, gate)
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", **scope_of(call)}
    return Request(scope, _stays)


async def log_limit(gate: Gate, fault: Exception) -> None:
    """Write a limit that stops the work to the decision log, as for a request."""
    if isinstance(fault, QuotaExceeded | CountersUnavailable | StorageExceeded | NoRoom):
        with suppress(PolicyUnavailable):
            await gate.stopped(limited_by(fault))


async def _stays() -> Message:
    """Wait for ever."""
    message: Message = await asyncio.get_running_loop().create_future()
    return message


async def _unheard(_message: Message) -> None:
    raise RuntimeError("nothing is sent to the client of deferred work")


def _principal(owner: Principal | None) -> Principal | Anonymous:
    return Anonymous() if owner is None else owner
