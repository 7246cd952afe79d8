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
from translators.codegen.text import member, string_literal

Fact = tuple[str, ...]
"""What must be true of a record, by its name in `rego/ostiary/records`, with its operands: `("name_is", "file-7")`.

The first member of a fact that must not be true is `not`.
"""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is left to test where the caller and the type of record are known and the record isn't.

    `lines` are tests in Rego that such a question decides; `facts` are for the record to tell.
    """

    lines: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Test:
    """One thing that must hold: `meaning` in the words of the policy, `lines` in Rego.

    `listings` say together, as alternatives, when it holds for a stored record: never, where there is none of them. A
    test of a route has none.
    """

    meaning: str
    lines: tuple[str, ...]
    listings: tuple[Listing, ...] = ()


def about_the_caller(meaning: str, line: str) -> Test:
    """A test that is the same whether the record is known or not."""
    return Test(meaning, (line,), (Listing((line,)),))


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
    """A condition or its opposite; `holds` and `fails` are the Rego for the one and the other.

    `fact` is what it says of a record that isn't known; None if it speaks of the caller alone.
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
    """In a permit, a negated condition about an anonymous principal doesn't hold (policy-language, section 5)."""
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
    """A condition that has the same name among the conditions and among the facts about a record."""
    name, *operands = fact
    arguments = f"({', '.join(map(string_literal, operands))})" if operands else ""
    call = f"conditions.{name}{arguments}"
    return _Literal(meaning, call, f"not {call}", negated, about_principal, fact)
