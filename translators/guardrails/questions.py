"""Checks of how guardrails use the question: unknown members, impossible values, undefined texts.

OPA checks references written as `input.…`; this follows the question into functions and calls, and knows its values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from policy.scopes import Names
from policy.source.diagnostics import Findings, Span, quoted
from translators.guardrails.bindings import Bindings
from translators.guardrails.checking import Tree
from translators.guardrails.constants import constants
from translators.guardrails.directory import CODE, PACKAGE
from translators.guardrails.rules import Modules
from translators.guardrails.shapes import Shape, question
from translators.guardrails.trees import calls, imports, name_of, nodes, place
from translators.guardrails.values import compared_ids, refused_values

_ROUNDS: Final = 4
"""The depth of calls to which the question is followed into functions."""

Params = dict[str, list[Shape | None]]


def check_questions(modules: Modules, names: Names, findings: Findings) -> list[tuple[str, Span]]:
    """Report references that no question has; return the attributes of callers that are used, with the places."""
    root, named = question(names), constants(modules)
    params: Params = {}
    for _ in range(_ROUNDS):
        params = _parameters(modules, root, named, params)
    asked: list[tuple[str, Span]] = []
    ids: dict[Span, Shape] = {}
    places: set[tuple[str, ...]] = set()
    for path, module in modules.items():
        for rule in module.get("rules", ()):
            bindings = Bindings(root, imports(module), named, rule, params.get(name_of(rule), []))
            told = dict.fromkeys(
                [*_missing(path, rule, bindings), *refused_values(path, rule, bindings), *_lost(path, rule, bindings)]
            )
            for span, message in told:
                findings.error(CODE, span, message)
            asked += _attributes(path, rule, bindings)
            ids |= compared_ids(path, rule, bindings)
            places |= {shape.path for node in nodes(rule) if isinstance(shape := bindings.shape(node), Shape)}
    if names.issuers.several:
        _report_ids(ids, places, findings)
    return asked


def _report_ids(ids: Mapping[Span, Shape], places: Collection[tuple[str, ...]], findings: Findings) -> None:
    """Report each id that is compared while no guardrail asks who vouches for it: another issuer may have it, too."""
    for span, shape in ids.items():
        issuer = (*shape.path[:-1], "issuer")
        if issuer not in places:
            message = f"{shape.named} may be another caller's with each of the issuers that are configured"
            findings.error(CODE, span, message, f"ask for {quoted('.'.join(issuer))} as well")


def _parameters(modules: Modules, root: Shape, named: Mapping[str, Tree], before: Params) -> Params:
    """Return the shape of each parameter of each function, where all calls pass the same part of the question."""
    found: dict[str, list[list[Shape | None]]] = {}
    for module in modules.values():
        for rule in module.get("rules", ()):
            bindings = Bindings(root, imports(module), named, rule, before.get(name_of(rule), []))
            for _, function, operands in calls(rule):
                shapes = [bindings.shape(operand) for operand in operands]
                called = [shape if isinstance(shape, Shape) else None for shape in shapes]
                if len(function) == 1 or function[:-1] == ("data", *PACKAGE.split(".")):
                    found.setdefault(function[-1], []).append(called)
    return {
        name: [
            shapes[0] if all(shape == shapes[0] for shape in shapes) else None for shapes in zip(*given, strict=False)
        ]
        for name, given in found.items()
    }


def _missing(path: Path, rule: Tree, bindings: Bindings) -> Iterator[tuple[Span, str]]:
    for node in nodes(rule):
        found = bindings.shape(node) if node.get("type") == "ref" else None
        if isinstance(found, str):
            yield place(path, node), found
    for node, function, operands in calls(rule):
        if function == ("object", "get") and len(operands) > 1:
            shape, keys = bindings.shape(operands[0]), operands[1]
            for key in keys["value"] if keys.get("type") == "array" else [keys]:
                shape = bindings.below(shape, key) if isinstance(shape, Shape) else shape
            if isinstance(shape, str):
                yield place(path, node), shape


def _lost(path: Path, rule: Tree, bindings: Bindings) -> Iterator[tuple[Span, str]]:
    """Report a denial whose own text reads a value that may be undefined, such as the id of an anonymous caller."""
    key = rule["head"].get("key")
    if name_of(rule) != "deny" or key is None or key.get("type") == "templatestring":
        return
    reasons = _reasons(rule, key)
    whole, defined = _present(rule, bindings, reasons)
    for node in _outside_templates([key, *(expression["terms"][2] for expression in reasons)]):
        shape = bindings.shape(node) if node.get("type") == "ref" else None
        if not isinstance(shape, Shape) or shape.path in defined or (shape.always_there and shape.path[:-1] in whole):
            continue
        text = ".".join(part for part in shape.path if part != "*")
        message = (
            f"where there is no {quoted(text)}, this denial is lost; ask for it in the body, too, or write "
            f'`{{"reason": $"… {{{text}}} …"}}`'
        )
        yield place(path, node), message


def _reasons(rule: Tree, key: Tree) -> list[Tree]:
    """Return the lines of a body that only build the message: `reason := …`, where only the head reads it."""
    said = {str(node["value"]) for node in nodes(key) if node.get("type") == "var"}
    used = Counter(str(node["value"]) for node in nodes(rule.get("body", ())) if node.get("type") == "var")
    return [
        expression
        for expression in rule.get("body", ())
        if isinstance(terms := expression.get("terms"), list)
        and terms[0]["value"][0]["value"] == "assign"
        and terms[1].get("type") == "var"
        and terms[1]["value"] in said
        and used[str(terms[1]["value"])] == 1
    ]


def _present(rule: Tree, bindings: Bindings, reasons: list[Tree]) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return the places that are objects wherever the body of a rule holds, and those that have any value."""
    whole, defined = set[tuple[str, ...]](), {("input",), ("input", "principal")}
    for expression in rule.get("body", ()):
        for node in () if expression.get("negated") or expression in reasons else nodes(expression.get("terms")):
            shape = bindings.shape(node) if node.get("type") == "ref" else None
            if isinstance(shape, Shape):
                whole |= {shape.path[:length] for length in range(2, len(shape.path))}
                defined |= {shape.path[:length] for length in range(2, len(shape.path) + 1)}
    if defined & {("input", "action"), ("input", "resource")}:
        defined |= {("input", "action"), ("input", "resource")}
        whole.add(("input", "resource"))
    return whole, defined


def _outside_templates(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict) and tree.get("type") != "templatestring":
        yield tree
        for value in tree.values():
            yield from _outside_templates(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _outside_templates(value)


def _attributes(path: Path, rule: Tree, bindings: Bindings) -> Iterator[tuple[str, Span]]:
    for node in nodes(rule):
        shape = bindings.shape(node) if node.get("type") == "ref" else None
        if isinstance(shape, Shape) and shape.path[:3] == ("input", "principal", "attributes") and len(shape.path) > 3:
            yield shape.path[3], place(path, node)
