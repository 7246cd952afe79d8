"""Lints of resource types that the configuration serves and no rule mentions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from policy.lints.places import Places
from policy.lints.reaches import type_of
from policy.resource_types import TYPES
from policy.rules import AccessRule, EveryRecord
from policy.source import document as yaml
from policy.source.diagnostics import Findings
from policy.source.environment import DISABLED, substitute
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX

_ANNOUNCED: Final = ("model", "shield")
"""Types of which a configuration defines resources for callers to use."""


def report_unmentioned_types(
    rules: Sequence[AccessRule],
    tables: Tables,
    places: Places,
    document: yaml.Mapping,
    environ: Mapping[str, str],
    findings: Findings,
) -> list[str]:
    """Warn once of the types that `apis`, `models` and `shields` serve and no rule mentions; return these types.

    Silent if a rule may match any type.
    """
    mentioned = {type_of(rule.resource, tables) for rule in rules}
    if None in mentioned:
        return []
    records = any(isinstance(rule.resource, EveryRecord) for rule in rules)
    missing = [
        kind
        for kind in dict.fromkeys(_served(document, environ))
        if kind not in mentioned and not (records and kind.startswith(RECORD_PREFIX))
    ]
    if missing:
        names = ", ".join(f"`{kind}`" for kind in missing)
        message = f"this server has resources of type {names}, and no rule mentions them, so no caller can use them"
        findings.warning("unmentioned-type", places.span, message, f"add a rule for `{missing[0]}::*`")
    return missing


def _served(document: yaml.Mapping, environ: Mapping[str, str]) -> Iterator[str]:
    for api in _items(document, "apis"):
        if isinstance(api, yaml.Scalar):
            yield from (row.name for row in TYPES.values() if row.api == api.text)
    for kind in _ANNOUNCED:
        items = (item for section in TYPES[kind].sections for item in _items(document, section))
        if not all(_is_disabled(item, environ) for item in items):
            yield kind


def _is_disabled(node: yaml.Node, environ: Mapping[str, str]) -> bool:
    """Return whether an entry is disabled in this environment."""
    if isinstance(node, yaml.Scalar):
        try:
            return substitute(node.text, environ) == DISABLED
        except ValueError:  # reported where the section is read
            return False
    inner = node.items if isinstance(node, yaml.Sequence) else [entry.node for entry in node.entries.values()]
    return any(_is_disabled(item, environ) for item in inner)


def _items(document: yaml.Mapping, key: str) -> tuple[yaml.Node, ...]:
    entry = document.entries.get(key)
    return entry.node.items if entry is not None and isinstance(entry.node, yaml.Sequence) else ()
