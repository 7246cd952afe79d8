"""Resource patterns: `model::a`, `model::*`, `sql_record::openai_files::*`, `regex:…`, `*`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policy.expressions import ignores_case, literal_starts
from policy.regexes import REGEX_PREFIX, regex, spelled_out
from policy.resource_types import RESOURCE_TYPES, TYPE_SYNONYMS
from policy.rules import EveryRecord, Everything, ExactName, OfType, Regex, ResourcePattern
from policy.source.diagnostics import Findings, Severity, did_you_mean, quoted
from policy.source.document import Scalar
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, type_of_record

_SEPARATOR = "::"
_RECORD = RECORD_PREFIX.removesuffix(_SEPARATOR)
_KNOWN = (*RESOURCE_TYPES, *TYPE_SYNONYMS, _RECORD)


@dataclass(frozen=True, slots=True)
class Weights:
    """The severity of mistakes in a pattern: an invalid regex, an unknown table, an unknown type in a regex."""

    invalid: Severity
    unknown_table: Severity


def resource_pattern(scalar: Scalar, weights: Weights, tables: Tables, findings: Findings) -> ResourcePattern | None:
    """Return the pattern that `resource` spells; None after an error.

    The pattern holds the standard name of a table, whichever of its names is written.
    """
    text = scalar.text
    if text == "*":
        return Everything()
    if text.startswith(REGEX_PREFIX):
        found = regex(scalar, weights.invalid, findings)
        if found is not None and found.valid:
            _report_starts_of_regex(scalar, found, weights, tables, findings)
        return found
    if text.startswith(RECORD_PREFIX):
        return _record_pattern(scalar, weights, tables, findings)
    kind, separator, name = text.partition(_SEPARATOR)
    canonical = TYPE_SYNONYMS.get(kind, kind)
    if not separator or canonical not in RESOURCE_TYPES:
        _report_type(scalar, kind, separator + name, tables, findings)
        return None
    return _of(scalar, canonical, name, findings)


def with_type(text: str) -> str:
    """Return the probable meaning of a text without `::`: `model::a` for `model:a`, and for `a`."""
    kind, colon, name = text.partition(":")
    return f"{kind}{_SEPARATOR}{name}" if colon and kind in _KNOWN else f"model{_SEPARATOR}{text}"


def _record_pattern(scalar: Scalar, weights: Weights, tables: Tables, findings: Findings) -> ResourcePattern | None:
    table, separator, name = scalar.text.removeprefix(RECORD_PREFIX).partition(_SEPARATOR)
    if not separator and table in ("", "*"):
        return EveryRecord()
    if not table:
        message = f"{quoted(scalar.text)} names no table"
        findings.error("unknown-type", scalar.span, message, "write `sql_record::*` for every record of every table")
        return None
    if "*" in table:
        hint = "`sql_record::*` matches every record of every table"
        _report_star(scalar, hint, findings, weights.unknown_table)
    elif table not in tables.names:
        _report_table(scalar, table, weights, tables, findings)
    return _of(scalar, type_of_record(tables.standard(table)), name, findings)


def _report_starts_of_regex(
    scalar: Scalar, pattern: Regex, weights: Weights, tables: Tables, findings: Findings
) -> None:
    """Report each alternative that can only match an unknown type, or records of an unknown table."""
    folds = ignores_case(pattern)
    for start in dict.fromkeys(literal_starts(pattern)):
        if not _may_begin(start, (f"{kind}{_SEPARATOR}" for kind in _KNOWN), folds=folds):
            _report_start(scalar, start, weights, tables, findings)
        elif start.startswith(RECORD_PREFIX):
            subjects = (f"{type_of_record(name)}{_SEPARATOR}" for name in tables.names)
            if not _may_begin(start, subjects, folds=folds):
                table = start.removeprefix(RECORD_PREFIX).partition(_SEPARATOR)[0]
                _report_table(scalar, table, weights, tables, findings)


def _may_begin(start: str, subjects: Iterable[str], *, folds: bool) -> bool:
    """Return whether one of the subjects begins with `start`, or `start` with it; `folds` compares in lower case."""
    compared = (subject.lower() if folds else subject for subject in subjects)
    return any(subject.startswith(start) or start.startswith(subject) for subject in compared)


def _report_start(scalar: Scalar, start: str, weights: Weights, tables: Tables, findings: Findings) -> None:
    kind, separator, _ = start.partition(_SEPARATOR)
    message = f"no type of resource begins as {quoted(start)}, {_consequence(weights)}"
    if separator and kind in tables.names:
        hint = f"write {quoted(RECORD_PREFIX + start)} for records of that table"
    elif separator:
        hint = did_you_mean(kind, _KNOWN)
    else:
        hint = f"begin with a type, as in {quoted(f'{REGEX_PREFIX}model{_SEPARATOR}')}"
    findings.add(weights.unknown_table, "unknown-type", scalar.span, message, hint)


def _report_table(scalar: Scalar, table: str, weights: Weights, tables: Tables, findings: Findings) -> None:
    message = f"no table is called {quoted(table)}, {_consequence(weights)}"
    findings.add(weights.unknown_table, "unknown-table", scalar.span, message, did_you_mean(table, tables.names))


def _consequence(weights: Weights) -> str:
    is_error = weights.unknown_table is Severity.ERROR
    return "so a `forbid` of it holds back nothing" if is_error else "so nothing matches"


def _of(scalar: Scalar, canonical: str, name: str, findings: Findings) -> ResourcePattern:
    if name in ("", "*"):
        return OfType(canonical)
    if "*" in name:
        _report_star(scalar, f"write {quoted(spelled_out(scalar.text, '.*'))}", findings)
    return ExactName(canonical, name)


def _report_star(scalar: Scalar, hint: str, findings: Findings, weight: Severity = Severity.WARNING) -> None:
    message = f"a `*` inside {quoted(scalar.text)} is an ordinary character; only a whole name is a wildcard"
    findings.add(weight, "literal-star", scalar.span, message, hint)


def _report_type(scalar: Scalar, kind: str, rest: str, tables: Tables, findings: Findings) -> None:
    """Report what is missing or unknown in front of `::`."""
    if kind in _KNOWN:
        message = f"{quoted(kind)} is a type without a name"
        findings.error("incomplete-resource", scalar.span, message, f"write {quoted(kind + '::*')} for all of them")
    elif not rest:
        message = f"{quoted(kind)} has no type"
        findings.error("incomplete-resource", scalar.span, message, f"write it as {quoted(with_type(kind))}")
    else:
        message = f"{quoted(kind)} is not a type of resource" if kind else f"{quoted(scalar.text)} names no type"
        in_table = kind in tables.names
        hint = f"did you mean {quoted(RECORD_PREFIX + kind + rest)}?" if in_table else did_you_mean(kind, _KNOWN)
        findings.error("unknown-type", scalar.span, message, hint)
