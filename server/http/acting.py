"""Requests that the server makes to its own application, as a caller for whom it acts.

They pass every guard that a request from outside passes. They have no token: their principal comes with the scope, in a
member that no client can make, since a client sends headers, a target and a body.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from policy.vocabulary import Anonymous, Principal
from server.quota.admission import RequestCharge

ACTING: Final = "ostiary.acting"
"""The key, in a scope, of an `Acting`."""


class Acting:
    """The caller of a request, which has an `address` if it has no token, and what becomes of the request.

    Where it `is_paid`, no request is taken of the caller's quota for it. It `has_entered` once the guards know the
    caller; then it has a `charge`, unless nothing is charged, and `fault` is the exception that ends it.
    """

    __slots__ = ("address", "charge", "fault", "has_entered", "is_paid", "principal")

    def __init__(self, principal: Principal | Anonymous, address: str, *, is_paid: bool) -> None:
        self.principal = principal
        self.address = address
        self.is_paid = is_paid
        self.has_entered = False
        self.charge: RequestCharge | None = None
        self.fault: Exception | None = None


def acting_of(scope: Scope) -> Acting | None:
    """Return the caller for whom the server makes this request; None for a request from outside."""
    found = scope.get(ACTING)
    return found if isinstance(found, Acting) else None
