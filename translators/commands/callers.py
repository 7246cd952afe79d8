"""The callers that a policy distinguishes: nobody, anybody, and whoever its rules speak of."""

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
    """One kind of caller: of that id, or of an id that no rule names, holding `values` and nothing else."""

    label: str
    id: str | None
    values: tuple[Value, ...] = ()

    def principal(self, more: Iterable[Value] = ()) -> Question | None:
        """The caller for a question, holding `more` besides; None for an anonymous one."""
        if self.id is None:
            return None
        attributes: dict[str, list[str]] = {}
        for attribute, value in (*self.values, *more):
            attributes.setdefault(attribute, []).append(value)
        return {"id": self.id, "issuer": "", "attributes": attributes}


@dataclass(frozen=True, slots=True)
class Callers:
    """Every kind of caller in the order of the table, and the pairs that may matter beside them.

    A pair comes with the two callers whose attributes it holds: it may do other things than both of them do.
    `stranger` is an id and `shared_value` a value of which no rule speaks.
    """

    alone: tuple[Caller, ...]
    pairs: tuple[tuple[Caller, tuple[Caller, Caller]], ...]
    stranger: str
    shared_value: str


def callers(policies: PolicySet) -> Callers:
    """The callers that the rules of both policies distinguish."""
    rules: tuple[AccessRule | RouteRule, ...] = (*(policies.routes or ()), *policies.access)
    names = list(dict.fromkeys(rule.principal for rule in policies.access if rule.principal is not None))
    someone = _unlike("someone", names)
    values = dict.fromkeys(value for rule in rules for value in _values(rule))
    single = {value: Caller(_label((value,)), someone, (value,)) for value in values}
    together = dict.fromkeys(group for rule in rules if len(group := tuple(dict.fromkeys(_values(rule)))) > 1)
    pairs = {
        frozenset(pair): (Caller(_label(pair), someone, pair), (single[pair[0]], single[pair[1]]))
        for pair in combinations(values, 2)
    }
    alone = [
        Caller("anonymous", None),
        Caller("any authenticated user", someone),
        *single.values(),
        *(Caller(_label(group), someone, group) for group in together),
        *(Caller(f"principal {name}", name) for name in names),
        *_named_with_values(policies.access),
    ]
    others = tuple(pair for held, pair in pairs.items() if held not in set(map(frozenset, together)))
    stranger = _unlike("another", [*names, someone])
    return Callers(tuple(dict.fromkeys(alone)), others, stranger, _unlike("shared", [value for _, value in values]))


def _named_with_values(rules: Iterable[AccessRule]) -> Iterator[Caller]:
    for rule in rules:
        group = tuple(dict.fromkeys(_values(rule)))
        if rule.principal is not None and group:
            yield Caller(f"principal {rule.principal}, {_label(group)}", rule.principal, group)


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
