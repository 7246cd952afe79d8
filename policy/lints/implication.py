"""When the conditions of one rule follow from those of another.

A rule applies in one or several *cases*: `when: [a, b]` has one, in which both hold, `unless: [a, b]` has two, in each
of which one of them doesn't. A case is a set of facts, and it follows from a set of facts that contains it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias

from policy.rules import (
    Clause,
    Condition,
    Conditions,
    HasValue,
    IsAuthenticated,
    IsFromConfig,
    IsOwner,
    IsUnowned,
    SharesWithOwner,
)
from policy.vocabulary import Effect

Fact: TypeAlias = tuple[Condition, bool]
"""A condition without its `not`, and whether it holds."""

Case: TypeAlias = frozenset[Fact]

_AUTHENTICATED: Final[Fact] = (IsAuthenticated(), True)


def cases(conditions: Conditions | None, effect: Effect) -> tuple[Case, ...]:
    """The cases in which a rule applies, as far as its conditions go; one empty case if it has none."""
    if conditions is None:
        return (frozenset(),)
    facts = [_fact(condition) for condition in conditions.conditions]
    if conditions.clause is Clause.WHEN:
        return (_guarded(facts, effect),)
    return tuple(_guarded([(condition, not holds)], effect) for condition, holds in facts)


def consequences(case: Case, named: bool) -> frozenset[Fact] | None:
    """What is certain in a case, the case included; None if it contradicts itself and never comes about.

    `named` says that the rule names its principal.
    """
    known = set(case) | ({_AUTHENTICATED} if named else set())
    for condition, holds in case:
        if holds and isinstance(condition, HasValue | IsOwner | SharesWithOwner):
            known.add(_AUTHENTICATED)
        if holds and isinstance(condition, IsOwner | SharesWithOwner):
            known.add((IsUnowned(), False))
        if holds and isinstance(condition, IsUnowned):
            known.add((IsOwner(negated=False), False))
    return None if any((condition, not holds) in known for condition, holds in known) else frozenset(known)


def _fact(condition: Condition) -> Fact:
    if isinstance(condition, HasValue | IsOwner | SharesWithOwner):
        return replace(condition, negated=False), not condition.negated
    return condition, True


def _guarded(facts: list[Fact], effect: Effect) -> Case:
    """In a permit, a negated condition about an anonymous principal doesn't hold (policy-language, section 5)."""
    negated = any(not holds and not isinstance(condition, IsUnowned | IsFromConfig) for condition, holds in facts)
    return frozenset([*facts, _AUTHENTICATED] if negated and effect is Effect.PERMIT else facts)
