"""Bodies of Rego for the conditions of a rule."""

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
from translators.codegen.text import member, string_literal

Fact = tuple[str, ...]
"""A fact required of a record, by its name in `rego/ostiary/records`, with its operands: `("name_is", "file-7")`.

The first member of a fact that must not be true is `not`.
"""


@dataclass(frozen=True, slots=True)
class Listing:
    """The tests that remain where the caller and the type of record are known and the record isn't.

    `lines` are tests in Rego that such a question decides; `facts` are decided for each record.
    """

    lines: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Test:
    """One condition: `meaning` in the words of the policy, `lines` in Rego.

    `listings` are the alternatives under which it holds for a stored record; with none it never holds. A test of a
    route has None.
    """

    meaning: str
    lines: tuple[str, ...]
    listings: tuple[Listing, ...] = ()


def about_the_caller(meaning: str, line: str) -> Test:
    """Return a test that doesn't depend on the record."""
    return Test(meaning, (line,), (Listing((line,)),))


Body = tuple[Test, ...]
"""A rule applies when one of its bodies holds; a body holds when all of its tests do."""


def condition_bodies(conditions: Conditions | None, effect: Effect) -> tuple[Body, ...]:
    """Return one body with all conditions for `when`, one negated body for each for `unless`, one empty body for
    neither.
    """
    if conditions is None:
        return ((),)
    literals = [_condition(condition) for condition in conditions.conditions]
    if conditions.clause is Clause.WHEN:
        return (_guarded(literals, effect),)
    return tuple(_guarded([literal.inverted()], effect) for literal in literals)


@dataclass(frozen=True, slots=True)
class _Literal:
    """A condition or its negation; `holds` and `fails` are the Rego for the two.

    `fact` is the fact about an unknown record; None if the condition is about the caller only.
    """

    meaning: str
    holds: str
    fails: str
    negated: bool
    about_principal: bool
    fact: Fact | None

    def inverted(self) -> _Literal:
        return replace(self, negated=not self.negated)

    def test(self) -> Test:
        meaning = f"not: {self.meaning}" if self.negated else self.meaning
        line = self.fails if self.negated else self.holds
        if self.fact is None:
            return about_the_caller(meaning, line)
        fact = ("not", *self.fact) if self.negated else self.fact
        return Test(meaning, (line,), (Listing(facts=(fact,)),))


def _guarded(literals: list[_Literal], effect: Effect) -> Body:
    """Add to a permit's negated condition that the caller is authenticated.

    Source: `docs/policy/policy-language.md` §5.
    """
    tests = [literal.test() for literal in literals]
    if effect is Effect.PERMIT and any(literal.negated and literal.about_principal for literal in literals):
        tests.insert(0, about_the_caller("user is authenticated", "conditions.authenticated"))
    return tuple(tests)


def _condition(condition: Condition) -> _Literal:
    match condition:
        case HasValue(value=value, attribute=attribute, negated=negated):
            # The bare test can be indexed, but its negation would be undefined for an absent attribute.
            holds = f"{string_literal(value)} in input.principal.attributes{member(attribute)}"
            fails = f"not conditions.has_value({string_literal(value)}, {string_literal(attribute)})"
            return _Literal(f"user with {value} in {attribute}", holds, fails, negated, about_principal=True, fact=None)
        case IsOwner(negated=negated):
            return _about_the_record("user is owner", ("user_is_owner",), negated=negated)
        case SharesWithOwner(attribute=attribute, negated=negated):
            return _about_the_record(f"user in owners {attribute}", ("shares_with_owner", attribute), negated=negated)
        case IsUnowned():
            return _about_the_record("resource is unowned", ("unowned",), about_principal=False)
        case IsFromConfig():
            return _about_the_record("resource is from config", ("from_config",), about_principal=False)
        case IsAuthenticated():
            call = "conditions.authenticated"
            return _Literal(
                "user is authenticated", call, f"not {call}", negated=False, about_principal=True, fact=None
            )


def _about_the_record(meaning: str, fact: Fact, *, negated: bool = False, about_principal: bool = True) -> _Literal:
    """Return a condition that has the same name among the conditions and among the facts about a record."""
    name, *operands = fact
    arguments = f"({', '.join(map(string_literal, operands))})" if operands else ""
    call = f"conditions.{name}{arguments}"
    return _Literal(meaning, call, f"not {call}", negated, about_principal, fact)
