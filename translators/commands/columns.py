"""The columns of the decision table: every action on every resource pattern, and every route pattern."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from policy.rules import PolicySet, Regex, RouteRule
from policy.vocabulary import Action
from translators.commands.questions import UnclearQuestion
from translators.commands.samples import sample_path, sample_resource, spelled

MOST_PATTERNS: Final = 200
"""Most patterns of one kind for which there are columns."""

_USUAL_METHOD: Final = "GET"


@dataclass(frozen=True, slots=True)
class Column:
    """One request: `verb` is an action or a method, `pattern` is spelled as in the policy.

    `about` is `resource` or `route`, the part of the question; `form` is that part for a sample that the pattern
    matches, and `asked` is the sample's name.
    """

    about: str
    verb: str
    pattern: str
    asked: str
    form: dict[str, Any]


def columns(policies: PolicySet) -> tuple[tuple[Column, ...], list[str]]:
    """Return the columns, resources first, and the patterns without one, each with the reason.

    Raises UnclearQuestion for a policy with too many patterns.
    """
    resources = list(dict.fromkeys(rule.resource for rule in policies.access))
    routes = policies.routes or ()
    paths = list(dict.fromkeys(path for rule in routes for path in rule.paths))
    for number in (len(resources), len(paths)):
        if number > MOST_PATTERNS:
            message = f"the policy has {number:,} patterns, and a table of more than {MOST_PATTERNS} can't be read"
            raise UnclearQuestion(message, "ask `ostiary policy decide` instead")
    made: list[Column] = []
    missing: list[str] = []
    for pattern in resources:
        found = sample_resource(pattern, resources, policies.tables)
        if found is None:
            missing.append(_missing(pattern, "resource"))
            continue
        form = {"type": found[0], "id": found[1]}
        made += (Column("resource", action, spelled(pattern), "::".join(found), form) for action in map(str, Action))
    samples = {path: sample_path(path, paths) for path in paths}
    for method, path in dict.fromkeys(pair for rule in routes for pair in _routes(rule)):
        sample = samples[path]
        if sample is not None:
            made.append(Column("route", method, spelled(path), sample, {"method": method, "path": sample}))
    missing += (_missing(path, "path") for path in paths if samples[path] is None)
    return tuple(made), list(dict.fromkeys(missing))


def _routes(rule: RouteRule) -> Iterator[tuple[str, Any]]:
    for path in rule.paths:
        for method in rule.methods or (_USUAL_METHOD,):
            yield method, path


def _missing(pattern: Any, noun: str) -> str:
    if isinstance(pattern, Regex) and not pattern.valid:
        return f"{spelled(pattern)}: it never matches"
    return f"{spelled(pattern)}: no {noun} was found that it matches"
