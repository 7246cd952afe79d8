"""The caller that a piece of work is done for, as fair shares know it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, TypeAlias

from policy.vocabulary import Anonymous, Principal

Caller: TypeAlias = tuple[str, ...]
"""The key of a caller's shares; two requests with the same key share."""

_ADDRESS: Final = "address"

SERVER: Final[Caller] = ("server",)
"""The server itself: probes, sweeps and what else no request asks for."""

CURRENT: Final[ContextVar[Caller]] = ContextVar("caller", default=SERVER)
"""The caller of the request that runs now; tasks that a request starts inherit it."""


def address_of(caller: Caller) -> str:
    """Return the address of a caller without a token; empty for any other."""
    return caller[1] if caller[0] == _ADDRESS else ""


def caller_of(principal: Principal | Anonymous, address: str, by: str | None = None) -> Caller:
    """Return the caller: a principal's issuer and id, or the address (/64 of IPv6) of one without a token.

    With `by`, the name of an attribute, all principals with the same first value of it are one caller; a principal
    that lacks the attribute is a caller of its own.
    """
    if not isinstance(principal, Principal):
        return (_ADDRESS, address)
    values = principal.attributes.get(by, ()) if by is not None else ()
    if by is not None and values:
        return ("attribute", principal.issuer, by, min(values))
    return ("principal", principal.issuer, principal.id)
