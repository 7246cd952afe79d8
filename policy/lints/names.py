"""Lints of names in rules that the configuration doesn't define: models and other resources."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as Environ
from difflib import get_close_matches
from typing import Final

from policy.lints.overlaps import may_be_about
from policy.lints.places import Places
from policy.model_names import model_names
from policy.resource_types import TYPES
from policy.rules import AccessRule, ExactName
from policy.source import document as yaml
from policy.source.diagnostics import Findings, quoted
from policy.source.environment import DISABLED, substitute
from policy.tables import Tables
from policy.vocabulary import Action, Effect

_MOST_LOOKED_AT: Final = 20
"""Unknown names of a policy for which near ones are looked for: that takes time."""


def report_unknown_names(
    rules: Sequence[AccessRule], places: Places, document: yaml.Mapping, environ: Environ[str, str], findings: Findings
) -> None:
    """Warn of each name that the configuration doesn't define, with the nearest one that it does, at its first use.

    Where a caller may register resources of the type, only a name near a configured one is reported. Silent about a
    type of which the configuration defines nothing, or a resource whose name isn't known here.
    """
    known: dict[str, dict[str, None] | None] = {}
    written: dict[ExactName, AccessRule] = {}
    for rule in rules:
        pattern = rule.resource
        if isinstance(pattern, ExactName) and "*" not in pattern.name:
            if pattern.type not in known:
                known[pattern.type] = _names(pattern.type, document, environ)
            names = known[pattern.type]
            if names and pattern.name not in names:
                written.setdefault(pattern, rule)
    open_types = {kind for kind in known if _may_be_made(kind, rules)}
    for pattern, rule in list(written.items())[:_MOST_LOOKED_AT]:
        near = _near(pattern.name, known[pattern.type] or ())
        if near is not None or pattern.type not in open_types:
            message = f"no {pattern.type.replace('_', ' ')} of the configuration is called {quoted(pattern.name)}"
            hint = f"did you mean {quoted(near)}?" if near else f"it has {_some([*(known[pattern.type] or ())])}"
            if pattern.type in open_types:
                hint += " if not, the rule waits for one that is registered under that name"
            findings.warning("unknown-name", places.scope(rule, "resource")[0].span, message, hint)


def _names(kind: str, document: yaml.Mapping, environ: Environ[str, str]) -> dict[str, None] | None:
    """Return every name of a type's configured resources; None where one of them isn't known."""
    found: dict[str, None] = {}
    for entry in _entries(kind, document):
        names = _names_of(kind, entry, environ)
        if names is None:
            return None
        found |= dict.fromkeys(names)
    return found


def _entries(kind: str, document: yaml.Mapping) -> Iterator[yaml.Node]:
    if kind == "provider":
        section = document.entries.get("providers")
        by_api = section.node.entries.values() if section and isinstance(section.node, yaml.Mapping) else ()
        listed = [entry.node for entry in by_api]
    else:
        sections = TYPES[kind].sections if kind in TYPES else ()
        listed = [document.entries[section].node for section in sections if section in document.entries]
    for node in listed:
        if isinstance(node, yaml.Sequence):
            yield from node.items


def _names_of(kind: str, entry: yaml.Node, environ: Environ[str, str]) -> tuple[str, ...] | None:
    """Return the names of one entry; None where it is disabled, lacks a variable or is malformed."""
    if not isinstance(entry, yaml.Mapping):
        return None
    if kind != "model":
        texts = [_text(entry, field, environ) for field in TYPES[kind].id_fields]
        return None if _UNTOLD in texts else tuple(text for text in texts if text is not None) or None
    provider, model, own = (_text(entry, field, environ) for field in TYPES[kind].id_fields)
    if provider is None or model is None or _UNTOLD in (provider, model, own):
        return None
    written = entry.entries.get("aliases")
    items = written.node.items if written is not None and isinstance(written.node, yaml.Sequence) else ()
    aliases = [_told(item, environ) for item in items]
    return None if _UNTOLD in aliases else model_names(provider, model, own, aliases)


_UNTOLD: Final = DISABLED
"""Stands for a text that isn't known here."""


def _text(entry: yaml.Mapping, field: str, environ: Environ[str, str]) -> str | None:
    written = entry.entries.get(field)
    if written is None or (isinstance(written.node, yaml.Scalar) and written.node.value is None):
        return None
    return _told(written.node, environ)


def _told(node: yaml.Node, environ: Environ[str, str]) -> str:
    if not isinstance(node, yaml.Scalar):
        return _UNTOLD
    try:
        found = substitute(node.text, environ)
    except ValueError:  # reported where the section is read
        return _UNTOLD
    return found if isinstance(found, str) else _UNTOLD


def _may_be_made(kind: str, rules: Sequence[AccessRule]) -> bool:
    """Return whether a rule may permit a caller to register resources of a type."""
    return kind != "provider" and any(
        rule.effect is Effect.PERMIT and Action.CREATE in rule.actions and may_be_about(rule.resource, kind, Tables())
        for rule in rules
    )


def _near(name: str, names: Collection[str]) -> str | None:
    lowered = {known.lower(): known for known in reversed([*names])}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.75)
    return lowered[close[0]] if close else None


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more names"
