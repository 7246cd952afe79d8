"""Permits, which prove that the policy engine permitted something, and the exceptions of refusals."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import Final, final

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, StampOwner, UseShields
from server.authz.contract.record_filter import RecordFilter

MINT: Final = object()
"""Makes a permit. Only `server.authz.granting` imports it, and only the enforcement point imports that; a test of the
import graph checks both."""


@final
@dataclass(frozen=True, slots=True)
class RoutePermit:
    """Leave to use one route, for one request. Only the enforcement point makes one.

    `limit` is the index of the quota that the policy names (in `server.quota.limits`), or None where it names none.
    `decision_id` and `revision` are those of the decision. Texts of models go through `shields`.
    """

    mint: InitVar[object]
    limit: int | None
    decision_id: str
    revision: str
    shields: tuple[str, ...] = ()

    def __post_init__(self, mint: object) -> None:
        _check(mint)


@final
@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for `principal` to do `action` to `resource`, and to nothing else.

    Only the enforcement point makes one; code that touches a resource asks for it as an argument. `owner` is to be
    written on the record that a permitted create makes: None there means a record without an owner.
    """

    mint: InitVar[object]
    principal: Principal | Anonymous
    action: Action
    resource: Resource
    decision: Decision
    decision_id: str

    def __post_init__(self, mint: object) -> None:
        _check(mint)

    @property
    def owner(self) -> Principal | None:
        """The owner of what is created under this permit; None where it has no owner."""
        return next((duty.owner for duty in self.decision.obligations if isinstance(duty, StampOwner)), None)

    @property
    def shields(self) -> tuple[str, ...]:
        """The shields that the texts of the model go through which may be read under this permit."""
        return shields_of(self.decision)

    @property
    def caller(self) -> Principal | None:
        """The caller who has the leave; None for one without a token."""
        return self.principal if isinstance(self.principal, Principal) else None


@final
@dataclass(frozen=True, slots=True)
class ListPermit:
    """Leave for `principal` to do `action` to those stored records of `type` that `filter` permits, and to no other.

    Only the enforcement point makes one. A record that the filter leaves undecided needs a permit of its own.
    """

    mint: InitVar[object]
    principal: Principal | Anonymous
    action: Action
    type: str
    filter: RecordFilter
    decision_id: str

    def __post_init__(self, mint: object) -> None:
        _check(mint)


def shields_of(decision: Decision) -> tuple[str, ...]:
    """Return the shields that a decision requires."""
    return next((duty.ids for duty in decision.obligations if isinstance(duty, UseShields)), ())


def _check(mint: object) -> None:
    if mint is not MINT:
        raise TypeError("a permit is made by the enforcement point alone, from a decision")


class AccessDenied(Exception):
    """The policy refuses what was asked.

    `decision` is the one that refused, about the route if `of_route`, else about the resource. Callers may be told its
    `decision_id`. `route_permit` is the permit of the route where both were asked and only the resource is refused.
    """

    def __init__(
        self, decision: Decision, decision_id: str, *, of_route: bool, route_permit: RoutePermit | None = None
    ) -> None:
        super().__init__(f"decision `{decision_id}`: {decision.reason}")
        self.decision = decision
        self.decision_id = decision_id
        self.of_route = of_route
        self.route_permit = route_permit


class RouteDenied(Exception):
    """The caller may not use the request's route.

    `decision_id` is that of the refusal, which the caller may be told. `token_missing` where the caller sent no token
    and one is accepted: with a token, the decision may be another. `path` is that of the request.
    """

    def __init__(self, decision_id: str, *, token_missing: bool, path: str = "") -> None:
        super().__init__(f"decision `{decision_id}`: the route is refused")
        self.decision_id = decision_id
        self.token_missing = token_missing
        self.path = path
