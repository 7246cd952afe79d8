"""Resolution of terms in a guardrail: the part of the question, or the literal, that a variable stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translators.guardrails.checking import Tree
from translators.guardrails.constants import LITERALS, is_of_input
from translators.guardrails.directory import PACKAGE
from translators.guardrails.shapes import Schema, Shape
from translators.guardrails.trees import nodes, reference, text_of


class Bindings:
    """The variables of a rule that stand for a part of the question or for a literal, such as a name in `named`."""

    def __init__(
        self,
        root: Shape,
        imported: Mapping[str, tuple[str, ...]],
        named: Mapping[str, Tree],
        rule: Tree,
        params: list[Shape | None],
    ) -> None:
        self._schema: Schema = root.schema
        self._imported = imported
        self._shapes: dict[str, Shape | None] = {"input": root}
        # A name that the rule gives to something of its own hides the literal outside.
        self._literals: dict[str, Tree | None] = {**named, **dict.fromkeys(_declared(rule))}
        for arg, shape in zip(rule["head"].get("args", ()), params, strict=False):
            if arg.get("type") == "var":
                self._shapes[str(arg["value"])] = shape
        for node in nodes(rule):
            self._learn(node)

    def shape(self, term: Tree) -> Shape | str | None:
        """Return the shape of a term; a message if the question has no such member; None if it isn't known."""
        found = reference(term, self._imported)
        if found is None:
            return None
        head, parts = found
        named = self._literals.get(head)
        alias = named if head not in self._shapes and named is not None and is_of_input(named) else None
        shape: Shape | str | None = self._shapes.get(head) if alias is None else self.shape(alias)
        for part in parts:
            if not isinstance(shape, Shape):
                return shape
            shape = self.below(shape, part)
        return shape

    def below(self, shape: Shape, part: Tree) -> Shape | str | None:
        """Return the shape of the member that `part` names."""
        return shape.member(text_of(self.literal(part)), self._schema)

    def inside(self, collection: Shape) -> Shape | None:
        """Return the shape of the elements of a list; None for anything else."""
        found = collection.member(None, self._schema)
        return found if isinstance(found, Shape) else None

    def literal(self, term: Tree) -> Tree:
        """Return the literal that a name stands for; any other term as it is."""
        found = reference(term, self._imported)
        if found is None:
            return term
        head, parts = found
        if head == "data" and [text_of(part) for part in parts[:2]] == PACKAGE.split("."):
            head, parts = str(parts[2].get("value")) if len(parts) > 2 else "", parts[3:]
        return term if parts else self._literals.get(head) or term

    def _learn(self, node: Tree) -> None:
        terms = node.get("terms")
        if isinstance(terms, list) and len(terms) == 3 and terms[0]["value"][0]["value"] in {"assign", "eq"}:
            self._bind(terms[1], terms[2])
        for symbol in node.get("symbols", ()):
            if symbol.get("type") == "call":
                self._bind_member(symbol["value"][-2], symbol["value"][-1])
        if "domain" in node and "value" in node:
            self._bind_member(node["value"], node["domain"])

    def _bind(self, variable: Tree, value: Tree) -> None:
        if variable.get("type") == "var":
            name, shape = str(variable["value"]), self.shape(value)
            self._literals[name] = None if name in self._literals else self._stands_for(value)
            self._set(name, shape if isinstance(shape, Shape) else None)

    def _stands_for(self, value: Tree) -> Tree | None:
        literal = self.literal(value)
        return literal if literal.get("type") in LITERALS else None

    def _bind_member(self, variable: Tree, collection: Tree) -> None:
        shape = self.shape(collection)
        if variable.get("type") == "var":
            self._set(str(variable["value"]), self.inside(shape) if isinstance(shape, Shape) else None)

    def _set(self, name: str, shape: Shape | None) -> None:
        # A name with two meanings, in two scopes, counts as unknown.
        self._shapes[name] = shape if self._shapes.get(name, shape) == shape else None


def _declared(rule: Tree) -> set[str]:
    """Return the variables that arguments, `some`, `every` and patterns on the left of `:=` make."""
    found: list[Any] = [rule["head"].get("args", ())]
    for node in nodes(rule):
        terms = node.get("terms")
        if isinstance(terms, list) and terms[0]["value"][0]["value"] == "assign" and terms[1].get("type") != "var":
            found.append(terms[1])
        for symbol in node.get("symbols", ()):
            found.append(symbol["value"][1:-1] if symbol.get("type") == "call" else symbol)
        if "domain" in node:
            found += (node.get("key"), node.get("value"))
    return {str(node["value"]) for node in nodes(found) if node.get("type") == "var"}
