"""The caller of a request whose token is not known yet."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from policy.vocabulary import Principal
from server.fairness.caller import CURRENT, SERVER, Caller, caller_of
from server.net.client_address import ClientAddresses

_ADDRESSES: Final = ClientAddresses(())


def caller_in(request: Scope) -> Caller:
    """Return the caller of the running request; where none is set, the address that `request` comes from."""
    caller = CURRENT.get()
    return ("address", _ADDRESSES.of(request)) if caller == SERVER else caller


def known_caller(principal: Principal) -> Caller:
    """Return the caller that a principal is."""
    return caller_of(principal, "")
