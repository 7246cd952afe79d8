"""The callers that a policy distinguishes: anonymous, authenticated, and those that its rules name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from policy.rules import AccessRule, HasValue, PolicySet, RouteRule
from translators.commands.questions import Question

Value = tuple[str, str]
"""An attribute and one of its values."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One kind of caller: with that id, or an id that no rule names, holding exactly `values`.

    `issuer` is empty where the configuration names none.
    """

    label: str
    id: str | None
    values: tuple[Value, ...] = ()
    issuer: str = ""

    def principal(self, more: Iterable[Value] = ()) -> Question | None:
        """Return the caller for a question, with the values of `more` added; None for an anonymous one."""
        if self.id is None:
            return None
        attributes: dict[str, list[str]] = {}
        for attribute, value in (*self.values, *more):
            attributes.setdefault(attribute, []).append(value)
        return {"id": self.id, "issuer": self.issuer, "attributes": attributes}


@dataclass(frozen=True, slots=True)
class Callers:
    """Every kind of caller in the order of the table, and the pairs that may differ from their members.

    A pair comes with the two callers whose attributes it combines. No rule names the id `unnamed_id` or the value
    `shared_value`.
    """

    alone: tuple[Caller, ...]
    pairs: tuple[tuple[Caller, tuple[Caller, Caller]], ...]
    unnamed_id: str
    shared_value: str


def callers(policies: PolicySet, only: str | None = None) -> Callers:
    """Return the callers that the rules of both policies distinguish; with `only`, those of one issuer and anonymous
    ones.
    """
    rules: tuple[AccessRule | RouteRule, ...] = (*(policies.routes or ()), *policies.access)
    names = list(dict.fromkeys(rule.principal for rule in policies.access if rule.principal is not None))
    someone = _unlike("someone", names)
    values = tuple(dict.fromkeys(value for rule in rules for value in _values(rule)))
    together = tuple(dict.fromkeys(group for rule in rules if len(group := tuple(dict.fromkeys(_values(rule)))) > 1))
    alone, pairs = [Caller("anonymous", None)], []
    for issuer, of in _issuers(policies, only):
        single = {value: Caller(_label((value,)) + of, someone, (value,), issuer) for value in values}
        alone += [
            Caller("any authenticated user" + of, someone, (), issuer),
            *single.values(),
            *(Caller(_label(group) + of, someone, group, issuer) for group in together),
            *_named(policies, issuer, of),
        ]
        pairs += [
            (Caller(_label(pair) + of, someone, pair, issuer), (single[pair[0]], single[pair[1]]))
            for pair in combinations(values, 2)
            if frozenset(pair) not in set(map(frozenset, together))
        ]
    unnamed_id = _unlike("another", [*names, someone])
    shared_value = _unlike("shared", [value for _, value in values])
    return Callers(tuple(dict.fromkeys(alone)), tuple(dict.fromkeys(pairs)), unnamed_id, shared_value)


def _issuers(policies: PolicySet, only: str | None) -> Iterator[tuple[str, str]]:
    """Yield the issuers that the rules distinguish, each with its part of a label; the last one stands for all others.

    Without an issuer in any rule, there is one entry for every caller.
    """
    named = tuple(dict.fromkeys(rule.issuer for rule in policies.access if rule.issuer is not None))
    others = [issuer for issuer in policies.issuers.names if issuer not in named]
    shown = [only] if only is not None else [*others[:1], *named]
    for issuer in shown or [""]:
        yield issuer, f" of {issuer}" if named and issuer else ""


def _named(policies: PolicySet, issuer: str, of: str) -> Iterator[Caller]:
    """Yield the callers that rules name, also with the values that these rules ask for."""
    rules = [rule for rule in policies.access if rule.principal is not None and rule.issuer in (None, issuer)]
    for rule in rules:
        yield Caller(f"principal {rule.principal}{of}", rule.principal, (), issuer)
    for rule in rules:
        group = tuple(dict.fromkeys(_values(rule)))
        if group:
            yield Caller(f"principal {rule.principal}{of}, {_label(group)}", rule.principal, group, issuer)


def _values(rule: AccessRule | RouteRule) -> Iterator[Value]:
    for condition in rule.conditions.conditions if rule.conditions else ():
        if isinstance(condition, HasValue):
            yield condition.attribute, condition.value


def _label(values: Iterable[Value]) -> str:
    return "user with " + " and ".join(
        f"{_quoted(value) if ' ' in value else value} in {attribute}" for attribute, value in values
    )


def _quoted(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def _unlike(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "-"
    return name
