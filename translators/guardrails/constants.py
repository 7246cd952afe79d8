"""Constants in guardrails, such as `frozen := {"read", "delete"}`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from translators.guardrails.checking import Tree
from translators.guardrails.trees import name_of

LITERALS: Final = frozenset({"string", "number", "boolean", "null", "array", "set", "object"})
"""The types of the terms that are literals."""


def constants(modules: Mapping[Path, Tree]) -> dict[str, Tree]:
    """Return the terms of the rules without a condition, by the names of the rules.

    `name contains "x"` makes a set. A name with a condition, arguments or a default in any of its rules is left out.
    """
    written: dict[str, list[Tree]] = {}
    for module in modules.values():
        for rule in module.get("rules", ()):
            written.setdefault(name_of(rule), []).append(rule)
    found = {name: _constant(rules) for name, rules in written.items()}
    return {name: term for name, term in found.items() if term is not None}


def _constant(rules: list[Tree]) -> Tree | None:
    heads = [rule["head"] for rule in rules]
    if not all(map(_is_plain, rules)):
        return None
    if all("key" in head and "value" not in head for head in heads):
        return {"type": "set", "value": [head["key"] for head in heads]}
    if len(heads) != 1 or "key" in heads[0]:
        return None
    value = dict(heads[0].get("value", {}))
    return value if value.get("type") in LITERALS or is_of_input(value) else None


def is_of_input(term: Tree) -> bool:
    """Return whether a term is written `input` or `input.…`."""
    head = term["value"][0] if term.get("type") == "ref" else term
    return head.get("type") == "var" and head["value"] == "input"


def _is_plain(rule: Tree) -> bool:
    head = rule["head"]
    conditions = [expression for expression in rule.get("body", ()) if not expression.get("generated")]
    return not (conditions or "args" in head or rule.get("default") or "else" in rule or len(head["ref"]) > 1)
