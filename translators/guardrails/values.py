"""Checks for comparisons in guardrails with values that the question never has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from policy.source.diagnostics import Span, quoted
from translators.guardrails.bindings import Bindings
from translators.guardrails.checking import Tree
from translators.guardrails.constants import LITERALS
from translators.guardrails.shapes import Shape
from translators.guardrails.trees import calls, nodes, place, text_of

_EQUALITY: Final = {("equal",), ("eq",), ("neq",)}
_MEMBERSHIP: Final = ("internal", "member_2")
_IDS: Final = {("input", "principal", "id"), ("input", "resource", "owner", "id")}
_PAIRS: Final = ("internal", "member_3")
_PARTS: Final = {("startswith",), ("endswith",), ("contains",)}


def refused_values(path: Path, rule: Tree, bindings: Bindings) -> Iterator[tuple[Span, str]]:
    """Yield each comparison that can't hold, and each that always holds after a `not`, with its place."""
    for node, function, operands in calls(rule):
        if len(operands) < 2:
            continue
        left, right = operands[-2:] if function == _PAIRS else operands[:2]
        complaints: Iterator[str | None] = iter(())
        if function in _EQUALITY:
            complaints = _never_equal(left, right, bindings)
        elif function in {_MEMBERSHIP, _PAIRS}:
            complaints = _never_in(left, right, bindings)
        elif function in _PARTS:
            complaints = _never_holds_part(function[0], left, right, bindings)
        yield from ((place(path, node), found) for found in complaints if found)
    for node in nodes(rule):
        if node.get("type") == "ref":
            yield from ((place(path, node), found) for found in _never_keys(node, bindings) if found)
        if isinstance(node.get("body"), list):
            yield from _never_both(path, node["body"], bindings)


def compared_ids(path: Path, rule: Tree, bindings: Bindings) -> dict[Span, Shape]:
    """Return the ids of callers and owners that are compared with literals, by the places of the comparisons."""
    found: dict[Span, Shape] = {}
    for node, function, operands in calls(rule):
        if function in _EQUALITY | {_MEMBERSHIP} and len(operands) == 2:
            for one, other in (operands, reversed(operands)):
                shape = bindings.shape(one)
                if isinstance(shape, Shape) and shape.path in _IDS and bindings.literal(other).get("type") in LITERALS:
                    found[place(path, node)] = shape
    return found


def _never_equal(left: Tree, right: Tree, bindings: Bindings) -> Iterator[str | None]:
    for one, other in ((left, right), (right, left)):
        shape, literal = bindings.shape(one), bindings.literal(other)
        if isinstance(shape, Shape):
            yield shape.refused_literal(literal)


def _never_in(left: Tree, right: Tree, bindings: Bindings) -> Iterator[str | None]:
    collection, wanted = bindings.shape(right), bindings.shape(left)
    if isinstance(collection, Shape):
        yield collection.refused_member(bindings.literal(left))
        inside = bindings.inside(collection)
        if inside is not None:
            yield inside.refused_literal(bindings.literal(left))
    among = bindings.literal(right)
    if isinstance(wanted, Shape) and among.get("type") in {"set", "array"}:
        yield from (wanted.refused_literal(bindings.literal(value)) for value in among["value"])


def _never_holds_part(function: str, left: Tree, right: Tree, bindings: Bindings) -> Iterator[str | None]:
    shape, text = bindings.shape(left), text_of(bindings.literal(right))
    if isinstance(shape, Shape) and text is not None:
        yield shape.refused_part(function, text)


def _never_keys(node: Tree, bindings: Bindings) -> Iterator[str | None]:
    """Yield the errors in `names[input.action]`, where `names` is a set or an object."""
    head, *parts = node["value"]
    if head.get("type") != "var" or not parts:
        return
    among, shape = bindings.literal(head), bindings.shape(parts[0])
    if not isinstance(shape, Shape) or among.get("type") not in {"set", "object"}:
        return
    keys = among["value"] if among["type"] == "set" else [key for key, _ in among["value"]]
    yield from (shape.refused_literal(bindings.literal(key)) for key in keys)


def _never_both(path: Path, body: list[Tree], bindings: Bindings) -> Iterator[tuple[Span, str]]:
    """Yield the lines of a body that compare one place with another text than an earlier line."""
    asked: dict[tuple[str, ...], str] = {}
    for expression in body:
        terms = expression.get("terms")
        if expression.get("negated") or "with" in expression or not isinstance(terms, list) or len(terms) != 3:
            continue
        if tuple(part["value"] for part in terms[0]["value"]) not in {("equal",), ("eq",)}:
            continue
        for one, other in ((terms[1], terms[2]), (terms[2], terms[1])):
            shape, text = bindings.shape(one), text_of(bindings.literal(other))
            if isinstance(shape, Shape) and text is not None and "*" not in shape.path:
                before = asked.setdefault(shape.path, text)
                if before != text:
                    message = f"{shape.named} is never both {quoted(before)} and {quoted(text)}; write `in` with a set"
                    yield place(path, expression), message
