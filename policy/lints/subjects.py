"""Regular expressions for resources that no subject can match."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from policy.lints.languages import Start, starts
from policy.lints.places import Places
from policy.resource_types import RESOURCE_TYPES, TYPE_SYNONYMS
from policy.rules import AccessRule, Regex
from policy.source.diagnostics import Findings, Span, quoted
from policy.tables import Tables
from policy.vocabulary import type_of_record


def report_unmatched_regexes(rules: Sequence[AccessRule], tables: Tables, places: Places, findings: Findings) -> None:
    """Warn of each regular expression that begins as no resource does, unless that has been said."""
    kinds = [*RESOURCE_TYPES, *TYPE_SYNONYMS, *map(type_of_record, tables.names)]
    beginnings = [f"{kind}::" for kind in kinds]
    told = _told(findings)
    for rule in rules:
        if not isinstance(rule.resource, Regex) or not rule.resource.valid:
            continue
        found = starts(rule.resource.pattern)
        for scalar in places.scope(rule, "resource"):
            if scalar.span not in told and not any(_may_begin(start, beginnings) for start in found):
                message = f"no resource matches {quoted(scalar.text)}"
                ended = any(f"{start.text}::" in beginnings for start in found)
                hint = (
                    "a type is followed by `::` and a name; for any name, write `::.*` in place of the end"
                    if ended
                    else "begin with a type and `::`, as in `regex:model::`"
                )
                findings.warning("unknown-type", scalar.span, message, hint)


def _told(findings: Findings) -> Collection[Span]:
    return {found.span for found in findings.diagnostics if found.code in {"unknown-type", "unknown-table"}}


def _may_begin(start: Start, beginnings: Iterable[str]) -> bool:
    """Return whether a subject, which goes on behind one of the beginnings, may begin with `start`, or be it."""
    return any(
        start.text.startswith(beginning) or (not start.ends and beginning.startswith(start.text))
        for beginning in beginnings
    )
