"""Implication between the conditions of rules.

A rule applies in one or several *cases*: `when: [a, b]` has one, in which both hold; `unless: [a, b]` has two, in each
of which one of them fails. A case is a set of facts, and it follows from every set of facts that contains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

Fact: TypeAlias = tuple[str, str, str, bool]
"""A condition without its `not`: its kind, an attribute and a value, where it has them, and whether it holds.

Plain texts rather than the conditions themselves, because facts are looked up a hundred thousand times.
"""

Case: TypeAlias = frozenset[Fact]

_AUTHENTICATED: Final[Fact] = ("authenticated", "", "", True)
_OWNED: Final[Fact] = ("unowned", "", "", False)
_NOT_OWNER: Final[Fact] = ("owner", "", "", False)
_ABOUT_RESOURCE: Final = {"unowned", "config"}


def cases_of(conditions: Conditions | None, effect: Effect) -> tuple[Case, ...]:
    """Return the cases in which a rule's conditions hold; one empty case if it has no conditions."""
    if conditions is None:
        return (frozenset(),)
    facts = [_fact(condition) for condition in conditions.conditions]
    if conditions.clause is Clause.WHEN:
        return (_guarded(facts, effect),)
    return tuple(_guarded([_opposite(fact)], effect) for fact in facts)


def consequences(case: Case, named: bool) -> frozenset[Fact] | None:
    """Return all facts that follow from a case, its own included; None if the case contradicts itself.

    `named` says that the rule names a principal or an issuer.
    """
    known = set(case) | ({_AUTHENTICATED} if named else set())
    for kind, _, _, holds in case:
        if holds and kind in {"value", "owner", "shared"}:
            known.add(_AUTHENTICATED)
        if holds and kind in {"owner", "shared"}:
            known.add(_OWNED)
        if holds and kind == "unowned":
            known.add(_NOT_OWNER)
    return None if any(_opposite(fact) in known for fact in known) else frozenset(known)


def holds_for_all(cases: Iterable[Case], known: Callable[[Fact], bool | None]) -> bool:
    """Return whether one of the cases is certain to hold; `known` gives None for a fact that isn't known."""
    left = {
        frozenset(fact for fact in case if known(fact) is None)
        for case in cases
        if not any(known(fact) is False for fact in case)
    }
    return any(not case or (len(case) == 1 and frozenset(map(_opposite, case)) in left) for case in left)


def may_hold(cases: Iterable[Case], known: Callable[[Fact], bool | None]) -> bool:
    """Return whether one of the cases may hold, as far as `known` tells."""
    return any(not any(known(fact) is False for fact in case) for case in cases)


def _fact(condition: Condition) -> Fact:
    match condition:
        case HasValue(value, attribute, negated):
            return "value", attribute, value, not negated
        case SharesWithOwner(attribute, negated):
            return "shared", attribute, "", not negated
        case IsOwner(negated):
            return "owner", "", "", not negated
        case IsUnowned():
            return "unowned", "", "", True
        case IsFromConfig():
            return "config", "", "", True
        case IsAuthenticated():
            return _AUTHENTICATED


def _opposite(fact: Fact) -> Fact:
    kind, attribute, value, holds = fact
    return kind, attribute, value, not holds


def _guarded(facts: list[Fact], effect: Effect) -> Case:
    """Add to a permit's case that a negated condition needs an authenticated caller.

    Source: `docs/policy/policy-language.md` §5.
    """
    negated = any(not holds and kind not in _ABOUT_RESOURCE for kind, _, _, holds in facts)
    return frozenset([*facts, _AUTHENTICATED] if negated and effect is Effect.PERMIT else facts)
