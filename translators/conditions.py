"""The conditions of a rule as bodies of Rego."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """A condition or its opposite; `holds` and `fails` are the Rego for the one and the other."""

    meaning: str
    holds: str
    fails: str
    negated: bool
    about_principal: bool

    def inverted(self) -> _Literal:
        return replace(self, negated=not self.negated)

    def test(self) -> Test:
        return Test(f"not: {self.meaning}", (self.fails,)) if self.negated else Test(self.meaning, (self.holds,))


def _guarded(literals: list[_Literal], effect: Effect) -> Body:
    """In a permit, a negated condition about an anonymous principal doesn't hold (policy-language, section 5)."""
    tests = [literal.test() for literal in literals]
    if effect is Effect.PERMIT and any(literal.negated and literal.about_principal for literal in literals):
        tests.insert(0, Test("user is authenticated", ("conditions.authenticated",)))
    return tuple(tests)


def _condition(condition: Condition) -> _Literal:
    match condition:
        case HasValue(value=value, attribute=attribute, negated=negated):
            # The bare test can be indexed, but its negation would be undefined for an absent attribute.
            holds = f"{string_literal(value)} in input.principal.attributes{member(attribute)}"
            fails = f"not conditions.has_value({string_literal(value)}, {string_literal(attribute)})"
            return _Literal(f"user with {value} in {attribute}", holds, fails, negated, about_principal=True)
        case IsOwner(negated=negated):
            return _literal("user is owner", "user_is_owner", negated=negated)
        case SharesWithOwner(attribute=attribute, negated=negated):
            call = f"shares_with_owner({string_literal(attribute)})"
            return _literal(f"user in owners {attribute}", call, negated=negated)
        case IsUnowned():
            return _literal("resource is unowned", "unowned", about_principal=False)
        case IsFromConfig():
            return _literal("resource is from config", "from_config", about_principal=False)
        case IsAuthenticated():
            return _literal("user is authenticated", "authenticated")


def _literal(meaning: str, name: str, *, negated: bool = False, about_principal: bool = True) -> _Literal:
    return _Literal(meaning, f"conditions.{name}", f"not conditions.{name}", negated, about_principal)
