"""Values that a schema allows: the smallest, the largest, and everything one step away from these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.openapi.document import Schema, resolved

Named = Callable[[str, Schema], Any]
"""A value for the member of that name, or None where any value will do."""

_DEEPEST = 8


class Samples:
    """Makes values; `named` may choose those of members."""

    def __init__(self, named: Named) -> None:
        self._named = named

    def smallest(self, schema: Schema) -> Any:
        """A value with nothing in it that may be left out."""
        schema = _one(schema)
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type"):
            case "object":
                known = schema.get("properties", {})
                return {name: self._member(name, known.get(name, {"type": "string"})) for name in _required(schema)}
            case "array":
                return [self.smallest(schema["items"])] * schema.get("minItems", 0)
            case "string":
                return _text(schema)
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case "null":
                return None
        return {}

    def full(self, schema: Schema) -> Any:
        """An object with every member that it may have, each as small as can be."""
        schema = _one(schema)
        members = schema.get("properties", {})
        return {name: self._member(name, inner) for name, inner in members.items()} | self.smallest(schema)

    def around(self, schema: Schema, depth: int = 0) -> Iterator[Any]:
        """Values of every alternative and of every member, with and without each optional member."""
        if depth > _DEEPEST or "$recursiveRef" in schema:
            return
        schema = resolved(schema)
        alternatives = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
        if alternatives:
            for each in alternatives:
                yield from self.around(each, depth)
        elif "allOf" in schema or schema.get("type") == "object" or "properties" in schema:
            yield from self._objects(_one(schema), depth)
        elif "enum" in schema:
            yield from schema["enum"]
        elif schema.get("type") == "array":
            if not schema.get("minItems"):
                yield []
            yield from ([value] for value in self.around(schema["items"], depth + 1))
        else:
            yield self.smallest(schema)
        if schema.get("nullable"):
            yield None

    def _objects(self, schema: Schema, depth: int) -> Iterator[Any]:
        smallest, full, known = self.smallest(schema), self.full(schema), schema.get("properties", {})
        yield smallest
        yield full
        for name in full.keys() - {*_required(schema)}:
            yield {member: value for member, value in full.items() if member != name}
        for name, inner in known.items():
            if self._named(name, smallest) is None:
                for value in self.around(inner, depth + 1):
                    yield {**smallest, name: value}

    def _member(self, name: str, schema: Schema) -> Any:
        chosen = self._named(name, schema)
        return self.smallest(schema) if chosen is None else chosen


def _one(schema: Schema) -> Schema:
    """The schema, its first alternative, or all its parts in one."""
    schema = resolved(schema)
    for name in ("oneOf", "anyOf"):
        if name in schema:
            return _one(schema[name][0])
    if "allOf" in schema:
        parts = [_one(part) for part in schema["allOf"]]
        members = {name: inner for part in parts for name, inner in part.get("properties", {}).items()}
        required = [name for part in parts for name in _required(part)]
        return {"type": "object", "properties": members, "required": required}
    return schema


def _required(schema: Schema) -> list[str]:
    return [*schema.get("required", ())]


def _text(schema: Schema) -> str:
    if schema.get("format") == "uri":
        return "https://a.example/x"
    return "tunnel_" + "a" * 32 if "tunnel" in schema.get("pattern", "") else "x" * max(1, schema.get("minLength", 1))
