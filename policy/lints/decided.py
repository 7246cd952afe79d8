"""Lints of rules that never decide: an earlier rule always does, or no caller can meet their conditions.

A rule is reported only if, for each of its actions, paths and cases, one earlier rule is certain to apply. A `forbid`
behind such a `permit` gets a message of its own, since it protects nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

from policy.lints.implication import Case, Fact, cases_of, consequences
from policy.lints.late import LateForbids
from policy.lints.places import Places, listed
from policy.lints.reaches import ALL_ACTIONS, ALL_METHODS, EVERYWHERE, Key, Reach, RouteReaches, access_reach
from policy.rules import AccessRule, RouteRule
from policy.source.diagnostics import Findings
from policy.tables import Tables
from policy.vocabulary import Effect

_Rule: TypeAlias = AccessRule | RouteRule
_ALWAYS: Final[Case] = frozenset()
_Rest: TypeAlias = Sequence[tuple[_Rule, Reach, dict[Case, frozenset[Fact]]]]
_SomeRule = TypeVar("_SomeRule", AccessRule, RouteRule)


def report_idle_access_rules(
    rules: Sequence[AccessRule], tables: Tables, places: Places, findings: Findings
) -> set[int]:
    """Warn of the rules of an access policy that never decide; return the indices of all of them."""
    return _report(rules, lambda rule: access_reach(rule, tables), ALL_ACTIONS, tables, places, findings)


def report_idle_route_rules(rules: Sequence[RouteRule], places: Places, findings: Findings) -> set[int]:
    """Warn of the rules of a route policy that never decide; return the indices of all of them."""
    return _report(rules, RouteReaches(rules).of, ALL_METHODS, Tables(), places, findings)


def _report(
    rules: Sequence[_SomeRule],
    reach_of: Callable[[_SomeRule], Reach],
    all_verbs: Sequence[str],
    tables: Tables,
    places: Places,
    findings: Findings,
) -> set[int]:
    all_cases = [_possible_cases(rule) for rule in rules]
    reaches = [reach_of(rule) for rule in rules]
    earlier = _Earlier(fact for cases in all_cases for case in cases for fact in case)
    late = LateForbids(rules, reaches, tables, places)
    idle: set[int] = set()
    for position, (rule, reach, cases) in enumerate(zip(rules, reaches, all_cases, strict=True)):
        if not cases:
            message = "the conditions of this rule can't be met, so it never applies"
            findings.warning("never-applies", rule.span, message, "correct them, or remove the rule")
            idle.add(rule.index)
        elif (deciding := earlier.deciding(reach, cases.values())) is not None:
            _report_shadowed(rule, deciding, places, findings)
            idle.add(rule.index)
        else:
            late.report(rule, reach, partial(earlier.deciding, certain=cases.values()), findings)
            earlier.add(rule, reach, cases)
            if earlier.leaves_nothing_of(all_verbs):
                rest = list(zip(rules, reaches, all_cases, strict=True))[position + 1 :]
                _report_unreachable(rule, rest, earlier, places, findings)
                return idle | set(range(position + 1, len(rules)))
    return idle


def _possible_cases(rule: _Rule) -> dict[Case, frozenset[Fact]]:
    """Return the cases in which a rule applies, without impossible ones, each with the facts that follow."""
    named = isinstance(rule, AccessRule) and rule.names_callers
    certain = {case: consequences(case, named) for case in cases_of(rule.conditions, rule.effect)}
    return {case: facts for case, facts in certain.items() if facts is not None}


class _Earlier:
    """The rules read so far, indexed by place and by one fact of each case, since policies may be long."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._frequency = Counter(facts)
        self._places: set[Key] = set()
        self._found: dict[tuple[Key, Fact | None], dict[tuple[str, Case], _Rule]] = {}

    def add(self, rule: _Rule, reach: Reach, cases: Iterable[Case]) -> None:
        """Add a rule; of equal rules the first one is kept."""
        for case in cases:
            rarest = min(case, key=self._order, default=None)
            for place in reach.places:
                self._places.add(place.key)
                found = self._found.setdefault((place.key, rarest), {})
                for verb, *_ in reach.verbs:
                    found.setdefault((verb, case), rule)

    def deciding(self, reach: Reach, certain: Collection[frozenset[Fact]]) -> list[_Rule] | None:
        """Return the rules that decide every place, verb and case, in their order; None if one is left undecided."""
        deciding: dict[int, _Rule] = {}
        for place in reach.places:
            near = [key for key in place.wider if key in self._places]
            if not near:
                return None
            for facts in certain:
                fitting = self._fitting(near, facts)
                for verbs in reach.verbs:
                    rules = [rule for verb, rule in fitting if verb in verbs]
                    if not rules:
                        return None
                    first = min(rules, key=lambda rule: rule.index)
                    deciding[first.index] = first
        return [deciding[index] for index in sorted(deciding)] or None

    def leaves_nothing_of(self, all_verbs: Sequence[str]) -> bool:
        """Return whether the rules so far decide every question."""
        decided = self._found.get((EVERYWHERE, None), {})
        return all((verb, _ALWAYS) in decided for verb in all_verbs)

    def _fitting(self, near: Sequence[Key], facts: frozenset[Fact]) -> list[tuple[str, _Rule]]:
        """Return the rules at these places that have a case which follows from `facts`, each with one of its verbs."""
        return [
            (verb, rule)
            for key in near
            for fact in (None, *facts)
            for (verb, case), rule in self._found.get((key, fact), {}).items()
            if case <= facts
        ]

    def _order(self, fact: Fact) -> tuple[int, Fact]:
        return self._frequency[fact], fact


def _report_shadowed(rule: _Rule, deciding: Sequence[_Rule], places: Places, findings: Findings) -> None:
    names = listed([places.named(other) for other in deciding])
    permits = [other for other in deciding if other.effect is Effect.PERMIT]
    verb = "decides" if len(deciding) == 1 else "decide"
    if rule.effect is Effect.FORBID and permits:
        because = f"{names} {verb} first"
        if len(permits) < len(deciding):
            because += f", and {listed([places.short(other) for other in permits])} {_permit(permits)}"
        else:
            because = f"{names} {_permit(permits)} all of it first"
        hint = f"if it is to hold, move it in front of {places.short(permits[0])}"
        findings.warning("late-forbid", rule.span, f"this `forbid` comes too late, because {because}", hint)
        return
    message = f"this rule never decides, because {names} always {verb} first"
    if all(other.effect is rule.effect for other in deciding):
        hint = "remove it: it changes nothing"
    else:
        hint = f"if it is to hold, move it in front of {places.short(deciding[0])}"
    findings.warning("shadowed-rule", rule.span, message, hint)


def _report_unreachable(last: _Rule, rest: _Rest, earlier: _Earlier, places: Places, findings: Findings) -> None:
    """Warn of the rules after `last`, which decides everything that is left: first late forbids, then the others."""
    late: list[_Rule] = []
    permits: dict[int, _Rule] = {}
    for rule, reach, cases in rest:
        if rule.effect is Effect.FORBID:
            deciding = earlier.deciding(reach, cases.values()) or ()
            before = {other.index: other for other in deciding if other.effect is Effect.PERMIT}
            late += [rule] if before else []
            permits |= before
    if late:
        _report_late(late, [permits[index] for index in sorted(permits)], places, findings)
    told = {rule.index for rule in late}
    others = [rule for rule, *_ in rest if rule.index not in told]
    if others:
        number = f"{'' if late else 'the '}{len(others) - 1}"
        rules = "this rule never decides" if len(others) == 1 else f"this rule and {number} after it never decide"
        message = f"{rules}, because {places.named(last)} leaves nothing to decide"
        findings.warning("unreachable-rule", others[0].span, message, f"move {places.short(last)} to the end")


def _report_late(late: Sequence[_Rule], permits: Sequence[_Rule], places: Places, findings: Findings) -> None:
    names, first = listed([places.named(rule) for rule in permits]), places.short(permits[0])
    if len(late) == 1:
        rules, all_of_it, hint = "this `forbid` comes", "all of it", f"if it is to hold, move it in front of {first}"
    else:
        rules, all_of_it = f"this `forbid` and {len(late) - 1} after it come", "all that they forbid"
        hint = f"if they are to hold, move them in front of {first}"
    message = f"{rules} too late, because {names} {_permit(permits)} {all_of_it} first"
    findings.warning("late-forbid", late[0].span, message, hint)


def _permit(permits: Sequence[_Rule]) -> str:
    return "permits" if len(permits) == 1 else "permit"
