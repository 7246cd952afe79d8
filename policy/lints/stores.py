"""Lint of vector stores of the configuration that no caller can fill: they have no owner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Environ
from typing import Final

from policy.lints.overlaps import may_be_about, may_match, spellings
from policy.resource_types import TYPES
from policy.rules import AccessRule, Clause, Conditions, ExactName, IsOwner, Regex, RouteRule, SharesWithOwner
from policy.source import document as yaml
from policy.source.diagnostics import Findings, quoted
from policy.source.environment import DISABLED, substitute
from policy.tables import Tables
from policy.vocabulary import Action, Effect

_KIND: Final = "vector_store"
_FILLING: Final = ("/v1/vector_stores/{}/files", "/v1/vector_stores/{}/file_batches", "/v1/vector-io/insert")


def report_unfilled_stores(
    rules: Sequence[AccessRule],
    routes: Sequence[RouteRule] | None,
    tables: Tables,
    document: yaml.Mapping,
    environ: Environ[str, str],
    findings: Findings,
) -> None:
    """Warn of each vector store of the configuration that no rule permits a caller to update, or no route to fill."""
    permits = [
        rule
        for rule in rules
        if rule.effect is Effect.PERMIT and Action.UPDATE in rule.actions and not _needs_an_owner(rule.conditions)
    ]
    for name, place in _stores(document, environ):
        if not any(_may_match(rule, name, tables) for rule in permits):
            message = f"no rule permits a caller to put anything into the vector store {quoted(name)}"
            hint = f"permit `update` on {quoted(f'{_KIND}::{name}')} to those who fill it"
            findings.warning("unfilled-store", place.span, message, hint)
        elif routes is not None and not any(_opens(rule, name) for rule in routes):
            message = f"`route_policy` permits no route by which a caller fills the vector store {quoted(name)}"
            hint = f"permit `POST` of {quoted(f'/v1/vector_stores/{name}/files')} or `/v1/vector-io/insert` there"
            findings.warning("unfilled-store", place.span, message, hint)


def _stores(document: yaml.Mapping, environ: Environ[str, str]) -> Iterator[tuple[str, yaml.Scalar]]:
    """Yield the ids of stores, each with its place, as far as they are known in this environment."""
    row = TYPES[_KIND]
    for section in row.sections:
        entry = document.entries.get(section)
        for item in entry.node.items if entry is not None and isinstance(entry.node, yaml.Sequence) else ():
            named = (item.entries.get(field) for field in row.id_fields) if isinstance(item, yaml.Mapping) else ()
            for field in named:
                if field is None or not isinstance(field.node, yaml.Scalar):
                    continue
                try:
                    name = substitute(field.node.text, environ)
                except ValueError:  # reported where the section is read
                    continue
                if isinstance(name, str) and name not in ("", DISABLED):
                    yield name, field.node


def _needs_an_owner(conditions: Conditions | None) -> bool:
    """Return whether a rule with these conditions never applies to what has no owner."""
    return (
        conditions is not None
        and conditions.clause is Clause.WHEN
        and any(isinstance(each, IsOwner | SharesWithOwner) and not each.negated for each in conditions.conditions)
    )


def _opens(rule: RouteRule, name: str) -> bool:
    """Return whether a rule may permit one of the routes by which something comes into a store."""
    return (
        rule.effect is Effect.PERMIT
        and (not rule.methods or "POST" in rule.methods)
        and any(may_match(path, template.format(name)) for path in rule.paths for template in _FILLING)
    )


def _may_match(rule: AccessRule, name: str, tables: Tables) -> bool:
    match rule.resource:
        case ExactName(type=kind, name=named):
            return kind == _KIND and named == name
        case Regex(pattern=text, valid=valid):
            return valid and any(re.match(text, f"{spelling}::{name}") for spelling in spellings(_KIND, tables))
    return may_be_about(rule.resource, _KIND, tables)
