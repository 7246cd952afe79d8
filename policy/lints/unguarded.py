"""Lints of permits that give everyone an owner's rights: to read or change every record, or to do anything.

A permit is reported if every authenticated caller meets its conditions, for resources of others. Earlier rules that
forbid some of it are named; a permit of which they may leave nothing is not reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from policy.lints.implication import Case, Fact, cases_of, consequences, holds_for_all, may_hold
from policy.lints.overlaps import is_about_all, may_be_about
from policy.lints.places import Places, listed
from policy.resource_types import RECORD_TABLES, RESOURCE_TYPES
from policy.rules import AccessRule, EveryRecord, ExactName, OfType
from policy.source.diagnostics import Findings, Span
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, Action, Effect, type_of_record

_RECORDS: Final = tuple(map(type_of_record, RECORD_TABLES))
_KINDS: Final = (*_RECORDS, *RESOURCE_TYPES)
_OF_OWNERS: Final = (Action.READ, Action.UPDATE, Action.DELETE)
_CHANGES: Final = (Action.UPDATE, Action.DELETE)


@dataclass(frozen=True, slots=True)
class Callers:
    """The attributes that callers can have, None for any; `guarded` says that guardrails may deny."""

    attributes: Collection[str] | None
    guarded: bool


def report_unguarded_permits(
    rules: Sequence[AccessRule],
    idle: Collection[int],
    callers: Callers,
    tables: Tables,
    places: Places,
    findings: Findings,
) -> None:
    """Warn once, at the action, of each permit that gives everyone an owner's rights.

    `idle` are the indices of rules that never decide; `tables` are the names of the record tables.
    """
    known = _Known(callers.attributes)
    forbids = _Forbids(known, tables, guarded=callers.guarded)
    for rule in rules:
        if rule.index in idle or _has_no_table(rule, tables):
            continue
        if rule.effect is Effect.FORBID:
            forbids.add(rule)
        elif not rule.names_callers:
            _report(rule, known, forbids, places, findings)


def _has_no_table(rule: AccessRule, tables: Tables) -> bool:
    """Return whether the rule is about records of a table that doesn't exist."""
    match rule.resource:
        case OfType(kind) | ExactName(kind, _):
            return kind.startswith(RECORD_PREFIX) and kind.removeprefix(RECORD_PREFIX) not in tables.names
    return False


class _Known:
    """The facts that are certain about a caller and a resource."""

    def __init__(self, attributes: Collection[str] | None) -> None:
        self._attributes = attributes

    def of_caller(self, fact: Fact) -> bool | None:
        """Return the value of `fact` for an authenticated caller and any resource; None if it isn't known."""
        kind, attribute, _, holds = fact
        if kind == "authenticated":
            return holds
        if kind in {"value", "shared"} and self._attributes is not None and attribute not in self._attributes:
            return not holds
        return None

    def of_other(self, fact: Fact) -> bool | None:
        """Return the value of `fact` for an authenticated caller and a resource that another one owns."""
        kind, _, _, holds = fact
        return not holds if kind in {"owner", "unowned", "config"} else self.of_caller(fact)

    def of_bare_caller(self, fact: Fact) -> bool:
        """Return the value of `fact` for such a caller without any attributes."""
        found = self.of_other(fact)
        return not fact[3] if found is None else found

    def of_maker(self, fact: Fact) -> bool | None:
        """Return the value of `fact` for an authenticated caller and a resource that it is about to create."""
        kind, _, _, holds = fact
        if kind == "owner":
            return holds
        return not holds if kind in {"unowned", "config"} else self.of_caller(fact)

    def of_bare_maker(self, fact: Fact) -> bool:
        """Return the value of `fact` for such a caller without any attributes."""
        found = self.of_maker(fact)
        return not fact[3] if found is None else found


@dataclass(frozen=True, slots=True)
class _Forbid:
    """A rule that may forbid something; `surely` says that it does for every caller without attributes."""

    rule: AccessRule
    surely: bool


class _Forbids:
    """The rules so far that may forbid something, indexed by action and type; `guarded` as in `Callers`."""

    def __init__(self, known: _Known, tables: Tables, *, guarded: bool) -> None:
        self.guarded = guarded
        self.tables = tables
        self._known = known
        self._wide: dict[tuple[Action, str], list[_Forbid]] = defaultdict(list)
        self._named: dict[tuple[Action, str], dict[str, list[_Forbid]]] = defaultdict(dict)

    def add(self, rule: AccessRule) -> None:
        """Add a rule."""
        cases = _cases(rule)
        kinds = [kind for kind in _KINDS if may_be_about(rule.resource, kind, self.tables)]
        for action in rule.actions:
            made = action is Action.CREATE
            if not may_hold(cases, self._known.of_maker if made else self._known.of_other):
                continue
            surely = holds_for_all(cases, self._known.of_bare_maker if made else self._known.of_bare_caller)
            forbid = _Forbid(rule, surely and not rule.names_callers)
            for kind in kinds:
                if isinstance(rule.resource, ExactName):
                    self._named[action, kind].setdefault(rule.resource.name, []).append(forbid)
                else:
                    self._wide[action, kind].append(forbid)

    def concerning(self, rule: AccessRule, action: Action, kind: str) -> list[_Forbid]:
        """Return those that may forbid this action on resources of the type that `rule` permits it on."""
        wide, named = self._wide.get((action, kind), []), self._named.get((action, kind), {})
        if isinstance(rule.resource, ExactName) and kind != "model":  # a model has several names
            return [*wide, *named.get(rule.resource.name, ())]
        return [*wide, *chain.from_iterable(named.values())]

    def leave_something(self, rule: AccessRule, forbids: Sequence[_Forbid]) -> bool:
        """Return whether a caller that has no attributes, and that no rule names, may act on an unnamed resource."""
        named = isinstance(rule.resource, ExactName)
        return not any(
            forbid.surely and (named or not isinstance(forbid.rule.resource, ExactName)) for forbid in forbids
        )


def _report(rule: AccessRule, known: _Known, forbids: _Forbids, places: Places, findings: Findings) -> None:
    """Warn of one permit with the strongest statement that is certain."""
    tables = forbids.tables
    cases = cases_of(rule.conditions, Effect.PERMIT)
    for_all = holds_for_all(cases, known.of_caller)
    if not for_all and not holds_for_all(cases, known.of_other):
        return
    everything = for_all and len(rule.actions) == len(Action) and _is_about_everything(rule, tables)
    opened = _opened(rule, forbids, tuple(Action), _KINDS) if everything else {}
    if len(opened) == len(Action):
        tail = _exceptions(opened, forbids, places)
        message = f"this rule lets every caller do everything with every resource{tail}"
        hint = "name the resources and the actions that are meant for everyone, and add conditions for all others"
        findings.warning("unguarded-everything", _first(rule, opened, places), message, hint)
    elif opened := _opened(rule, forbids, _OF_OWNERS, _records_of(rule, tables)):
        tail = _exceptions(opened, forbids, places)
        message = (
            f"this rule lets every caller {_verbs(opened)} {_which_records(rule, tables)}, no matter who owns it{tail}"
        )
        findings.warning("unguarded-records", _first(rule, opened, places), message, _remedy(rule))
    elif for_all and (opened := _opened(rule, forbids, _CHANGES, _kinds_of(rule, tables))):
        tail = _exceptions(opened, forbids, places)
        message = f"this rule lets every caller {_verbs(opened)}, no matter who owns the resource{tail}"
        hint = _remedy(rule) if rule.conditions else "add `when: user is owner`, another condition or a `principal`"
        findings.warning("unguarded-change", _first(rule, opened, places), message, hint)


def _opened(
    rule: AccessRule, forbids: _Forbids, actions: Collection[Action], kinds: Sequence[str]
) -> dict[Action, list[AccessRule]]:
    """Return the actions that the rule opens for everyone on some of `kinds`, each with the rules that make
    exceptions.
    """
    opened: dict[Action, list[AccessRule]] = {}
    for action in [action for action in rule.actions if action in actions]:
        concerning = [forbids.concerning(rule, action, kind) for kind in kinds]
        if any(forbids.leave_something(rule, found) for found in concerning):
            opened[action] = [found.rule for each in concerning for found in each]
    return opened


def _first(rule: AccessRule, opened: Collection[str], places: Places) -> Span:
    """Return the place of the first action that is open."""
    return next(scalar.span for scalar in places.scope(rule, "actions") if scalar.text in opened)


def _exceptions(opened: dict[Action, list[AccessRule]], forbids: _Forbids, places: Places) -> str:
    """Return the end of a sentence that names what may still forbid some of it; empty where nothing does."""
    found = {rule.index: rule for each in opened.values() for rule in each}
    names = [places.named(found[index]) for index in sorted(found)]
    if forbids.guarded:
        names.append("a guardrail")
    return f", but for what {listed(names)} {'forbids' if len(names) == 1 else 'forbid'}" if names else ""


def _records_of(rule: AccessRule, tables: Tables) -> tuple[str, ...]:
    """Return the types of stored records that the rule matches completely."""
    if isinstance(rule.resource, OfType):
        return (rule.resource.type,) if rule.resource.type.startswith(RECORD_PREFIX) else ()
    return tuple(kind for kind in _RECORDS if is_about_all(rule.resource, kind, tables))


def _kinds_of(rule: AccessRule, tables: Tables) -> tuple[str, ...]:
    """Return the types that the rule matches, where its pattern is a type, a name or all of several types."""
    if isinstance(rule.resource, OfType | ExactName):
        return (rule.resource.type,)
    return tuple(kind for kind in _KINDS if is_about_all(rule.resource, kind, tables))


def _is_about_everything(rule: AccessRule, tables: Tables) -> bool:
    return all(is_about_all(rule.resource, kind, tables) for kind in _KINDS)


def _which_records(rule: AccessRule, tables: Tables) -> str:
    kinds = _records_of(rule, tables)
    if len(kinds) == len(_RECORDS):
        return "every stored record"
    named = listed([f"`{kind.removeprefix(RECORD_PREFIX)}`" for kind in kinds], most=len(_RECORDS))
    return f"every record of {named}"


def _remedy(rule: AccessRule) -> str:
    if rule.conditions:
        return "everyone meets its condition, so write another one, such as `when: user is owner`"
    if isinstance(rule.resource, OfType | EveryRecord):
        return "add `when: user is owner`, or another condition that not everyone meets"
    return "name the types that are for everyone, such as `model::*`, and add `when: user is owner` for all others"


def _cases(rule: AccessRule) -> list[Case]:
    """Return the possible cases in which a rule applies, each with the facts that follow."""
    named = rule.names_callers
    certain = (consequences(case, named) for case in cases_of(rule.conditions, rule.effect))
    return [facts for facts in certain if facts is not None]


def _verbs(actions: Collection[Action]) -> str:
    return listed(list(actions), most=len(Action))
