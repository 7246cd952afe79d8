"""Which properties of what is shown are as the document has them, and which are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.openapi.document import SCHEMAS, Operation, Schema, resolved

Found = tuple[str, str | None]
"""The path of a property (`data[]<message>.content[]<input_text>.text`), and what is wrong with it."""

_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def properties(schema: Schema, value: Any, path: str = "") -> Iterator[Found]:
    """Each property that `value` has or must have; a property comes more than once if there is more to say of it."""
    if "$recursiveRef" in schema:
        schema = SCHEMAS["CompoundFilter"]
    schema = resolved(schema)
    if value is None and schema.get("nullable"):
        return
    for part in schema.get("allOf", ()):
        yield from properties(part, value, path)
    for name in ("anyOf", "oneOf"):
        if name in schema:
            yield from _alternative(schema[name], value, path)
    fault = _fault(schema, value)
    if fault is not None:
        yield path, fault
    elif type(value) is dict:
        yield from _members(schema, value, path)
    elif type(value) is list and "items" in schema:
        for each in value:
            yield from properties(schema["items"], each, f"{path}[]")


def _alternative(schemas: list[Schema], value: Any, path: str) -> Iterator[Found]:
    """What the alternative says that `value` is, or comes closest to."""
    kind = value.get("type") if type(value) is dict else None
    if type(kind) is str:
        path = f"{path}<{kind}>"
    tried = [[*properties(each, value, path)] for each in schemas]
    named = [found for each, found in zip(schemas, tried, strict=True) if kind is not None and kind in _kinds(each)]
    yield from min(named or tried, key=lambda found: sum(fault is not None for _, fault in found))


def _kinds(schema: Schema) -> list[Any]:
    """The values that the schema allows for `type`."""
    schema = resolved(schema)
    inner = [kind for name in ("allOf", "anyOf", "oneOf") for part in schema.get(name, ()) for kind in _kinds(part)]
    return [*inner, *schema.get("properties", {}).get("type", {}).get("enum", ())]


def _members(schema: Schema, value: dict[str, Any], path: str) -> Iterator[Found]:
    known = schema.get("properties", {})
    for name in {*known, *schema.get("required", ())}:
        if name in value and name in known:
            yield f"{path}.{name}", None
            yield from properties(known[name], value[name], f"{path}.{name}")
        elif name in schema.get("required", ()):
            yield f"{path}.{name}", None if name in value else "is missing"
    others = schema.get("additionalProperties", True)
    for name in value.keys() - known.keys():
        if others is False:
            yield f"{path}.{name}", "is unknown"
        elif others is not True:
            yield from properties(others, value[name], f"{path}.*")


def _fault(schema: Schema, value: Any) -> str | None:
    """What is wrong with a value itself, whatever is in it."""
    wanted = schema.get("type")
    if wanted is not None and (
        not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted in ("integer", "number"))
    ):
        return f"is no {wanted}" if value is not None else "is null"
    if "enum" in schema and value not in schema["enum"]:
        return f"is `{value}`"
    if type(value) is str and not _is_text(schema, value):
        return "is too short, too long or of another pattern"
    if type(value) is list and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return "has too few or too many entries"
    if type(value) in (int, float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return "is too small or too large"
    if type(value) is dict and len(value) > schema.get("maxProperties", len(value)):
        return "has too many members"
    return None


def _is_text(schema: Schema, value: str) -> bool:
    fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return fits and re.search(schema.get("pattern", ""), value) is not None


@dataclass
class Conformity:
    """What was shown so far: route, status and property, with everything that was ever wrong with it."""

    faults: dict[tuple[str, int, str], set[str]] = field(default_factory=dict)

    def add(self, operation: Operation, status: int, schema: Schema, value: Any) -> None:
        """Look at one more answer, or one chunk of one."""
        for path, fault in properties(schema, value):
            found = self.faults.setdefault((str(operation), status, path), set())
            if fault is not None:
                found.add(fault)

    @property
    def wrong(self) -> dict[tuple[str, int, str], set[str]]:
        """What isn't as the document has it."""
        return {place: faults for place, faults in self.faults.items() if faults}

    @property
    def share(self) -> float:
        """How much of it is."""
        return 1 - len(self.wrong) / len(self.faults)
