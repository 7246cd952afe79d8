"""Rules that never decide: an earlier rule always does, or no caller can meet their conditions.

A rule is reported only if for each of its actions, paths and cases one earlier rule is certain to apply.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from policy.diagnostics import Findings
from policy.lints.implication import Case, Fact, cases, consequences
from policy.lints.places import Places
from policy.lints.regions import ALL_ACCESS, ALL_ROUTES, Region, RouteRegions, access_regions
from policy.rules import AccessRule, RouteRule

_Rule: TypeAlias = AccessRule | RouteRule


def report_idle_access_rules(rules: Sequence[AccessRule], places: Places, findings: Findings) -> None:
    """Warn of the rules of an access policy that never decide."""
    _report([_reach(rule, access_regions(rule)) for rule in rules], ALL_ACCESS, places, findings)


def report_idle_route_rules(rules: Sequence[RouteRule], places: Places, findings: Findings) -> None:
    """Warn of the rules of a route policy that never decide."""
    regions = RouteRegions(rules)
    _report([_reach(rule, regions.of(rule)) for rule in rules], ALL_ROUTES, places, findings)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a rule is about, and the cases in which it applies, each with what is certain in it."""

    rule: _Rule
    regions: tuple[Region, ...]
    cases: tuple[tuple[Case, frozenset[Fact]], ...]


def _reach(rule: _Rule, regions: tuple[Region, ...]) -> _Reach:
    named = isinstance(rule, AccessRule) and rule.principal is not None
    certain = [(case, consequences(case, named)) for case in cases(rule.conditions, rule.effect)]
    return _Reach(rule, regions, tuple((case, facts) for case, facts in certain if facts is not None))


def _report(reaches: Sequence[_Reach], everything: Sequence[Hashable], places: Places, findings: Findings) -> None:
    earlier = _Earlier(reaches)
    last: _Rule | None = None
    unreachable: list[_Rule] = []
    for reach in reaches:
        rule = reach.rule
        if last is not None:
            unreachable.append(rule)
        elif not reach.cases:
            message = "no caller can meet the conditions of this rule, so it never applies"
            findings.warning("never-applies", rule.span, message, "correct them, or remove the rule")
        elif (deciding := earlier.deciding(reach)) is not None:
            _report_shadowed(rule, deciding, places, findings)
        else:
            earlier.add(reach)
            last = rule if earlier.leaves_nothing_of(everything) else None
    if last is not None and unreachable:
        _report_unreachable(last, unreachable, places, findings)


class _Earlier:
    """The rules met so far, found by region and by one of the facts that their cases need: policies may be long."""

    def __init__(self, reaches: Iterable[_Reach]) -> None:
        reaches = tuple(reaches)
        self._frequency = Counter(fact for reach in reaches for case, _ in reach.cases for fact in case)
        self._found: dict[tuple[Hashable, Fact | None], dict[Case, _Rule]] = defaultdict(dict)

    def add(self, reach: _Reach) -> None:
        """Remember a rule; among equal ones the first is kept."""
        for case, _ in reach.cases:
            rarest = min(case, key=self._order, default=None)
            for region in reach.regions:
                self._found[region.key, rarest].setdefault(case, reach.rule)

    def deciding(self, reach: _Reach) -> list[_Rule] | None:
        """The earlier rules that decide whatever the rule is about; None if anything may be left to it."""
        found: dict[int, _Rule] = {}
        for region in reach.regions:
            for _, facts in reach.cases:
                rule = self._first(region, facts)
                if rule is None:
                    return None
                found[rule.index] = rule
        return [found[index] for index in sorted(found)] or None

    def leaves_nothing_of(self, everything: Sequence[Hashable]) -> bool:
        """Whether every question has been decided."""
        return all((key, None) in self._found for key in everything)

    def _first(self, region: Region, facts: frozenset[Fact]) -> _Rule | None:
        fitting = (
            rule
            for key in region.wider
            for fact in (None, *facts)
            for case, rule in self._found.get((key, fact), {}).items()
            if case <= facts
        )
        return min(fitting, key=lambda rule: rule.index, default=None)

    def _order(self, fact: Fact) -> tuple[int, str]:
        return self._frequency[fact], repr(fact)


def _report_shadowed(rule: _Rule, deciding: Sequence[_Rule], places: Places, findings: Findings) -> None:
    names = _listed([places.named(other) for other in deciding])
    verb = "decides" if len(deciding) == 1 else "decide"
    message = f"this rule never decides, because {names} always {verb} first"
    if all(other.effect is rule.effect for other in deciding):
        hint = "remove it: it changes nothing"
    else:
        hint = f"if it is to hold, move it in front of {places.short(deciding[0])}"
    findings.warning("shadowed-rule", rule.span, message, hint)


def _report_unreachable(last: _Rule, unreachable: Sequence[_Rule], places: Places, findings: Findings) -> None:
    number = len(unreachable)
    rules = "this rule never decides" if number == 1 else f"this rule and the {number - 1} after it never decide"
    message = f"{rules}, because {places.named(last)} leaves nothing to decide"
    findings.warning("unreachable-rule", unreachable[0].span, message, f"move {places.short(last)} to the end")


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:3]) if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
