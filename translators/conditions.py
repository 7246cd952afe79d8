"""The conditions of a rule as bodies of Rego."""

from __future__ import annotations

from dataclasses import dataclass

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
from translators.text import member, string_literal


@dataclass(frozen=True, slots=True)
class Test:
    """One thing that must hold: `meaning` in the words of the policy, `lines` in Rego."""

    meaning: str
    lines: tuple[str, ...]


Body = tuple[Test, ...]
"""A rule applies when one of its bodies holds; a body holds when all of its tests do."""


def condition_bodies(conditions: Conditions | None, effect: Effect) -> tuple[Body, ...]:
    """`when` is one body with all conditions; `unless` is one body for each, negated; none is one empty body."""
    if conditions is None:
        return ((),)
    literals = [_condition(condition) for condition in conditions.conditions]
    if conditions.clause is Clause.WHEN:
        return (_guarded(literals, effect),)
    return tuple(_guarded([literal.inverted()], effect) for literal in literals)


@dataclass(frozen=True, slots=True)
class _Literal:
    meaning: str
    positive: str
    negated: bool
    about_principal: bool

    def inverted(self) -> _Literal:
        return _Literal(self.meaning, self.positive, not self.negated, self.about_principal)

    def test(self) -> Test:
        if self.negated:
            return Test(f"not: {self.meaning}", (f"not {self.positive}",))
        return Test(self.meaning, (self.positive,))


def _guarded(literals: list[_Literal], effect: Effect) -> Body:
    """In a permit, a negated condition about an anonymous principal doesn't hold (policy-language, section 5)."""
    tests = [literal.test() for literal in literals]
    if effect is Effect.PERMIT and any(literal.negated and literal.about_principal for literal in literals):
        tests.insert(0, Test("user is authenticated", ("conditions.authenticated",)))
    return tuple(tests)


def _condition(condition: Condition) -> _Literal:
    match condition:
        case HasValue(value=value, attribute=attribute, negated=negated):
            positive = f"{string_literal(value)} in input.principal.attributes{member(attribute)}"
            return _Literal(f"user with {value} in {attribute}", positive, negated, about_principal=True)
        case IsOwner(negated=negated):
            return _Literal("user is owner", "conditions.user_is_owner", negated, about_principal=True)
        case SharesWithOwner(attribute=attribute, negated=negated):
            positive = f"conditions.shares_with_owner({string_literal(attribute)})"
            return _Literal(f"user in owners {attribute}", positive, negated, about_principal=True)
        case IsUnowned():
            return _Literal("resource is unowned", "conditions.unowned", negated=False, about_principal=False)
        case IsFromConfig():
            return _Literal("resource is from config", "conditions.from_config", negated=False, about_principal=False)
        case IsAuthenticated():
            return _Literal("user is authenticated", "conditions.authenticated", negated=False, about_principal=True)
