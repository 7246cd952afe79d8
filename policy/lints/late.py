"""Lints of forbids that come too late: an earlier, wider permit decides part or all of what they forbid.

Reported are a `forbid` of which one action, method or path never decides because of a wider permit, and one without
effect: a wider permit stands before it, and no rule after it permits what it forbids. A closing `forbid`, which is as
wide as the permits before it, is not reported.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from policy.expressions import literal_start
from policy.lints.places import Places, listed
from policy.lints.reaches import Key, Place, Reach, type_of
from policy.rules import AccessRule, EveryRecord, ExactPath, PathPattern, PathPrefix, Regex, RouteRule
from policy.source.diagnostics import Findings, Span, quoted
from policy.source.document import Scalar
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, Effect

_Rule: TypeAlias = AccessRule | RouteRule
_Deciding: TypeAlias = Callable[[Reach], "list[_Rule] | None"]

_EVERY_VERB: Final = "*"
_RECORD: Final = RECORD_PREFIX.removesuffix("::")


class LateForbids:
    """Checks the rules of one policy in their order; `reaches` are the reaches of these rules."""

    def __init__(self, rules: Sequence[_Rule], reaches: Sequence[Reach], tables: Tables, places: Places) -> None:
        self._tables = tables
        self._places = places
        self._reaches = reaches
        self._rules = rules
        self._permits: dict[tuple[Key, str], _Rule] = {}
        self._verbs: dict[str, None] = {}
        self._later: _LaterPermits | None = None

    def report(self, rule: _Rule, reach: Reach, deciding: _Deciding, findings: Findings) -> None:
        """Warn of `rule`, which decides something; `deciding` returns the rules that decide a part of it first."""
        if rule.effect is Effect.PERMIT:
            for place in reach.places:
                for verb, *_ in reach.verbs:
                    self._permits.setdefault((place.key, verb), rule)
                    self._verbs[verb] = None
            return
        before = [self._wider_permits(rule, reach, place) for place in reach.places]
        if not any(before):
            return
        if (found := self._late_part(rule, reach, deciding)) is not None:
            (part, span), permits = found
            names = listed([self._places.named(other) for other in permits])
            verb = "permits" if len(permits) == 1 else "permit"
            message = f"for {part}, this `forbid` comes too late, because {names} {verb} it first"
            hint = f"if it is to hold, move it in front of {self._places.short(permits[0])}"
            findings.warning("late-forbid", span, message, hint)
        elif all(before) and not self._is_followed(rule, reach):
            first = min((permit for permits in before for permit in permits), key=lambda permit: permit.index)
            message = (
                f"this `forbid` changes nothing: {self._places.named(first)} permits before it, "
                "and no rule behind it permits anything that it forbids"
            )
            hint = f"if it is to hold, move it in front of {self._places.short(first)}"
            findings.warning("late-forbid", rule.span, message, hint)

    def _wider_permits(self, rule: _Rule, reach: Reach, place: Place) -> list[_Rule]:
        """Return the earlier permits of one of `rule`'s verbs that cover more than the place."""
        verbs = [verb for verbs in reach.verbs for verb in verbs]
        if _EVERY_VERB in verbs:
            verbs = list(self._verbs)
        keys = [key for key in place.wider if key != place.key or _is_narrowed(rule)]
        return [self._permits[key, verb] for key in keys for verb in verbs if (key, verb) in self._permits]

    def _late_part(self, rule: _Rule, reach: Reach, deciding: _Deciding) -> tuple[tuple[str, Span], list[_Rule]] | None:
        """Return the verbs, else the places, that permits decide first, with their place in the file and
        these permits.
        """
        parts = [Reach((verbs,), reach.groups) for verbs in reach.verbs]
        late = [part for part in parts if self._permits_before(rule, part, deciding)]
        if late and len(parts) > 1:
            key = "actions" if isinstance(rule, AccessRule) else "methods"
            names = {part.verbs[0][0] for part in late}
            scalars = [one for one in self._places.scope(rule, key) if _method(one.text) in names]
        else:
            parts = [Reach(reach.verbs, (group,)) for group in reach.groups]
            late = [part for part in parts if self._permits_before(rule, part, deciding)]
            if not late or len(parts) == 1:
                return None
            scalars = list(self._scalars_of_paths(rule, [part.groups[0] for part in late]))
        permits = {found.index: found for part in late for found in self._permits_before(rule, part, deciding)}
        texts = listed(list(dict.fromkeys(quoted(one.text) for one in scalars)), most=4)
        return (texts, scalars[0].span), [permits[index] for index in sorted(permits)]

    def _permits_before(self, rule: _Rule, part: Reach, deciding: _Deciding) -> list[_Rule]:
        """Return the permits that decide a part of a rule first, if all rules that do so are wider permits."""
        found = deciding(part) or []
        own = set() if _is_narrowed(rule) else {place.key for place in part.places}
        wider = all(own.isdisjoint(place.key for place in self._reaches[other.index].places) for other in found)
        return found if wider and all(other.effect is Effect.PERMIT for other in found) else []

    def _scalars_of_paths(self, rule: _Rule, late: Sequence[tuple[Place, ...]]) -> Iterator[Scalar]:
        """Yield the places in the file of the paths that make these groups of places."""
        if not isinstance(rule, RouteRule):
            return
        valid = [
            scalar
            for path, scalar in zip(rule.paths, self._places.scope(rule, "paths"), strict=True)
            if not (isinstance(path, Regex) and not path.valid)
        ]
        for group, scalar in zip(self._reaches[rule.index].groups, valid, strict=True):
            if group in late:
                yield scalar

    def _is_followed(self, rule: _Rule, reach: Reach) -> bool:
        """Return whether a later rule may permit anything that this one forbids."""
        if self._later is None:
            self._later = _LaterPermits(self._rules, self._tables)
        return self._later.last_about(rule) > rule.index


class _LaterPermits:
    """The indices of the last permits, by subject."""

    def __init__(self, rules: Sequence[_Rule], tables: Tables) -> None:
        self._tables = tables
        self._last: dict[tuple[str, str | None], int] = {}
        for rule in rules:
            for subject in _subjects(rule, tables) if rule.effect is Effect.PERMIT else ():
                for verb in _verbs(rule):
                    self._last[verb, subject] = rule.index
        self._starts = sorted({subject for _, subject in self._last if subject is not None})

    def last_about(self, rule: _Rule) -> int:
        """Return the index of the last permit that may overlap with `rule`; -1 if there is none."""
        known = dict.fromkeys(verb for verb, _ in self._last)
        verbs = known if _EVERY_VERB in _verbs(rule) else {**dict.fromkeys(_verbs(rule)), _EVERY_VERB: None}
        subjects = {near for subject in _subjects(rule, self._tables) for near in self._near(subject)}
        return max((self._last.get((verb, subject), -1) for verb in verbs for subject in subjects), default=-1)

    def _near(self, subject: str | None) -> Iterator[str | None]:
        """Yield the subjects that may overlap with this one: those that begin it or that it begins."""
        yield None
        if subject is None:
            yield from self._starts
            return
        yield from (subject[:length] for length in range(len(subject) + 1))
        first = bisect_left(self._starts, subject)
        for other in self._starts[first:]:
            if not other.startswith(subject):
                return
            yield other


def _subjects(rule: _Rule, tables: Tables) -> Iterator[str | None]:
    """Yield the beginnings of a rule's subjects: types, or paths; None if they may be anything."""
    if isinstance(rule, AccessRule):
        yield _RECORD if isinstance(rule.resource, EveryRecord) else type_of(rule.resource, tables)
        return
    for path in rule.paths:
        yield _start_of(path)


def _start_of(path: PathPattern) -> str | None:
    match path:
        case ExactPath(text) | PathPrefix(text):
            return text
        case Regex():
            return literal_start(path) if path.valid else None
    return None


def _verbs(rule: _Rule) -> tuple[str, ...]:
    return rule.actions if isinstance(rule, AccessRule) else rule.methods or (_EVERY_VERB,)


def _is_narrowed(rule: _Rule) -> bool:
    """Return whether the rule is limited to some callers, so that it closes no list of rules."""
    return rule.conditions is not None or (isinstance(rule, AccessRule) and rule.names_callers)


def _method(text: str) -> str:
    return "GET" if text == "HEAD" else text
