"""Observers of questions to the policy: they are told the time and the outcome of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from policy.vocabulary import Verdict
from server.authz.contract.errors import Failure


class QuestionKind(StrEnum):
    """The subject of a decision."""

    ROUTE = "route"
    RESOURCE = "resource"
    LIST = "list"


class Outcome(StrEnum):
    """The outcome of a question; `filter` leaves it to each record of a list, `unavailable` is no decision."""

    PERMIT = "permit"
    DENY = "deny"
    FILTER = "filter"
    UNAVAILABLE = "unavailable"


EFFECTS: Final = (
    *(
        (kind, effect)
        for kind in (QuestionKind.ROUTE, QuestionKind.RESOURCE)
        for effect in Outcome
        if effect is not Outcome.FILTER
    ),
    (QuestionKind.LIST, Outcome.FILTER),
    (QuestionKind.LIST, Outcome.UNAVAILABLE),
)
"""Every pair of a kind and an outcome that occurs."""


def outcome_of(verdict: Verdict) -> Outcome:
    """Return the outcome that counts a decision with that verdict."""
    return Outcome.PERMIT if verdict is Verdict.PERMIT else Outcome.DENY


class Observer(Protocol):
    """Told of every question in the event loop that asks it, so it must be quick and must not raise."""

    def answered(self, seconds: float) -> None:
        """OPA was asked, and answered or failed to after that long."""
        ...

    def decided(self, kind: QuestionKind, effect: Outcome, count: int = 1) -> None:
        """Count so many decisions."""
        ...

    def unavailable(self, failure: Failure) -> None:
        """Note that a question, or all questions that were asked together, got no decision."""
        ...


class NullObserver:
    """Ignores everything."""

    def answered(self, seconds: float) -> None:
        """Nothing."""

    def decided(self, kind: QuestionKind, effect: Outcome, count: int = 1) -> None:
        """Nothing."""

    def unavailable(self, failure: Failure) -> None:
        """Nothing."""
