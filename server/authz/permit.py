"""The proof that the policy engine said yes."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Final, final

from policy.vocabulary import Action, Anonymous, Decision, Principal, Resource, StampOwner
from server.authz.contract.record_filter import RecordFilter

if TYPE_CHECKING:
    from policy.vocabulary import Decision
    from server.authz.contract.question import Question

MINT: Final = object()
"""What makes a permit; for the enforcement point alone, as a test of the import graph sees to."""


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
        """Who owns what is created under this permit."""
        return next((duty.owner for duty in self.decision.obligations if isinstance(duty, StampOwner)), None)


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


def _check(mint: object) -> None:
    if mint is not MINT:
        raise TypeError("a permit is made by the enforcement point alone, from a decision")


class AccessDenied(Exception):
    """The policy engine said no.

    `decision` is the one that refused, about the route if `of_route`, else about the resource; `decision_id` is what
    the caller may be told, `question` what had been asked.
    """

    def __init__(self, decision: Decision, decision_id: str, question: Question, *, of_route: bool) -> None:
        super().__init__(f"decision `{decision_id}`: {decision.reason}")
        self.decision = decision
        self.decision_id = decision_id
        self.question = question
        self.of_route = of_route
