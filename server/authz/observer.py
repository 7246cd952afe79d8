"""Who is told what becomes of questions: how long they take, and what is decided."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from policy.vocabulary import Verdict
from server.authz.contract.errors import Failure


class Kind(StrEnum):
    """What a decision is about."""

    ROUTE = "route"
    RESOURCE = "resource"
    LIST = "list"


class Effect(StrEnum):
    """What a decision says; `filter` leaves it to each record of a list, `unavailable` means that there is none."""

    PERMIT = "permit"
    DENY = "deny"
    FILTER = "filter"
    UNAVAILABLE = "unavailable"


EFFECTS: Final = (
    *((kind, effect) for kind in (Kind.ROUTE, Kind.RESOURCE) for effect in Effect if effect is not Effect.FILTER),
    (Kind.LIST, Effect.FILTER),
    (Kind.LIST, Effect.UNAVAILABLE),
)
"""Every pair that there is."""


def effect_of(verdict: Verdict) -> Effect:
    """What a decision with that verdict says."""
    return Effect.PERMIT if verdict is Verdict.PERMIT else Effect.DENY


class Observer(Protocol):
    """Told of every question in the event loop that asks it, so it must be quick and must not raise."""

    def answered(self, seconds: float) -> None:
        """OPA was asked, and answered or failed to after that long."""
        ...

    def decided(self, kind: Kind, effect: Effect, count: int = 1) -> None:
        """So many decisions were made."""
        ...

    def unavailable(self, failure: Failure) -> None:
        """A question, or all questions that were asked together, got no decision."""
        ...


class Unobserved:
    """Looks away."""

    def answered(self, seconds: float) -> None:
        """Nothing."""

    def decided(self, kind: Kind, effect: Effect, count: int = 1) -> None:
        """Nothing."""

    def unavailable(self, failure: Failure) -> None:
        """Nothing."""
