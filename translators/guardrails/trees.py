"""Access to the syntax trees that `opa parse` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from policy.source.diagnostics import Span
from translators.guardrails.checking import Tree


def nodes(tree: Any) -> Iterator[Tree]:
    """Yield every mapping in a tree, outer before inner, in the order of the file."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def place(path: Path, tree: Tree) -> Span:
    """Return the place of a node."""
    location = tree.get("location", {})
    return Span(str(path), location.get("row", 1), location.get("col", 1))


def name_of(rule: Tree) -> str:
    """Return the name of a rule; for a rule about a member, the name in front of it."""
    return str(rule["head"]["ref"][0]["value"])


def imports(module: Tree) -> dict[str, tuple[str, ...]]:
    """Return the names that a module imports, each with its path, such as `data`, `ostiary`, `conditions`."""
    found = {}
    for written in module.get("imports", ()):
        path = tuple(str(part["value"]) for part in written["path"]["value"])
        found[written.get("alias") or path[-1]] = path
    return found


def reference(term: Tree, imported: Mapping[str, tuple[str, ...]]) -> tuple[str, list[Tree]] | None:
    """Return the first name of a reference or of a variable and the parts after it, with imports resolved."""
    if term.get("type") == "var":
        head, parts = str(term["value"]), []
    elif term.get("type") == "ref" and term["value"][0].get("type") == "var":
        head, parts = str(term["value"][0]["value"]), term["value"][1:]
    else:
        return None
    root, *inside = imported.get(head, (head,))
    return root, [*({"type": "string", "value": part} for part in inside), *parts]


def references(tree: Any, imported: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[Tree, str, list[Tree]]]:
    """Yield each reference and each variable of a tree: its node, its first name, the parts after it."""
    if isinstance(tree, dict):
        found = reference(tree, imported)
        if found is not None:
            yield tree, *found
        # The first part of a reference is its name, not another variable.
        inside = tree["value"][1:] if tree.get("type") == "ref" else list(tree.values())
        yield from references(inside, imported)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value, imported)


def calls(tree: Any) -> Iterator[tuple[Tree, tuple[str, ...], list[Tree]]]:
    """Yield each call in a tree: its node, the name of its function in parts, and its operands."""
    for node in nodes(tree):
        terms = node.get("terms") if isinstance(node.get("terms"), list) else None
        if terms is None and node.get("type") == "call":
            terms = node["value"]
        if terms and terms[0].get("type") == "ref":
            yield node, tuple(str(part["value"]) for part in terms[0]["value"]), terms[1:]


def text_of(term: Tree) -> str | None:
    """Return the text of a literal; None for anything else."""
    return str(term["value"]) if term.get("type") == "string" else None
