"""The texts of `resource`: `model::a`, `model::*`, `sql_record::openai_files::*`, `regex:…`, `*`."""

from __future__ import annotations

from collections.abc import Collection

from policy.diagnostics import Findings, Severity, did_you_mean, quoted
from policy.document import Scalar
from policy.regexes import REGEX_PREFIX, regex, spelled_out
from policy.rules import EveryRecord, Everything, ExactName, OfType, ResourcePattern
from policy.vocabulary import RECORD_PREFIX, RECORD_TABLES, RESOURCE_TYPES, TYPE_SYNONYMS, type_of_record

_SEPARATOR = "::"
_RECORD = RECORD_PREFIX.removesuffix(_SEPARATOR)
_KNOWN = (*RESOURCE_TYPES, *TYPE_SYNONYMS, _RECORD)


def resource_pattern(
    scalar: Scalar, invalid: Severity, tables: Collection[str], findings: Findings
) -> ResourcePattern | None:
    """The pattern that `resource` spells; None after an error.

    `invalid` weighs a regex that Python refuses; a table outside `tables` is a warning.
    """
    text = scalar.text
    if text == "*":
        return Everything()
    if text.startswith(REGEX_PREFIX):
        return regex(scalar, invalid, findings)
    if text.startswith(RECORD_PREFIX):
        return _record_pattern(scalar, tables, findings)
    kind, separator, name = text.partition(_SEPARATOR)
    canonical = TYPE_SYNONYMS.get(kind, kind)
    if not separator or canonical not in RESOURCE_TYPES:
        _report_type(scalar, kind, separator + name, tables, findings)
        return None
    return _of(scalar, canonical, name, findings)


def with_type(text: str) -> str:
    """What was probably meant by a text without `::`: `model::a` by `model:a`, and by `a`."""
    kind, colon, name = text.partition(":")
    return f"{kind}{_SEPARATOR}{name}" if colon and kind in _KNOWN else f"model{_SEPARATOR}{text}"


def _record_pattern(scalar: Scalar, tables: Collection[str], findings: Findings) -> ResourcePattern | None:
    table, separator, name = scalar.text.removeprefix(RECORD_PREFIX).partition(_SEPARATOR)
    if not separator and table in ("", "*"):
        return EveryRecord()
    if not table:
        message = f"{quoted(scalar.text)} names no table"
        findings.error("unknown-type", scalar.span, message, "write `sql_record::*` for every record of every table")
        return None
    if "*" in table:
        _report_star(scalar, "`sql_record::*` matches every record of every table", findings)
    elif table not in tables:
        message = f"no table is called {quoted(table)}, so nothing matches unless one is made under that name"
        findings.warning("unknown-table", scalar.span, message, did_you_mean(table, tables))
    return _of(scalar, type_of_record(table), name, findings)


def _of(scalar: Scalar, canonical: str, name: str, findings: Findings) -> ResourcePattern:
    if name in ("", "*"):
        return OfType(canonical)
    if "*" in name:
        _report_star(scalar, f"write {quoted(spelled_out(scalar.text, '.*'))}", findings)
    return ExactName(canonical, name)


def _report_star(scalar: Scalar, hint: str, findings: Findings) -> None:
    message = f"a `*` inside {quoted(scalar.text)} is an ordinary character; only a whole name is a wildcard"
    findings.warning("literal-star", scalar.span, message, hint)


def _report_type(scalar: Scalar, kind: str, rest: str, tables: Collection[str], findings: Findings) -> None:
    """Say what is missing or unknown in front of `::`."""
    if kind in _KNOWN:
        message = f"{quoted(kind)} is a type without a name"
        findings.error("incomplete-resource", scalar.span, message, f"write {quoted(kind + '::*')} for all of them")
    elif not rest:
        message = f"{quoted(kind)} has no type"
        findings.error("incomplete-resource", scalar.span, message, f"write it as {quoted(with_type(kind))}")
    else:
        message = f"{quoted(kind)} is not a type of resource" if kind else f"{quoted(scalar.text)} names no type"
        in_table = kind in tables or kind in RECORD_TABLES
        hint = f"did you mean {quoted(RECORD_PREFIX + kind + rest)}?" if in_table else did_you_mean(kind, _KNOWN)
        findings.error("unknown-type", scalar.span, message, hint)
