"""The shape of a question: the members and values that guardrails can rely on, from `rego/schemas/input.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from policy.resource_types import RESOURCE_TYPES, TYPE_SYNONYMS
from policy.routes import placeholder
from policy.scopes import Names
from policy.source.diagnostics import did_you_mean, quoted
from policy.vocabulary import type_of_record
from translators.rego_folder import REGO

Schema = dict[str, Any]
Tree = dict[str, Any]

_PATH: Final = ("input", "route", "path")
_NAME: Final = ("input", "resource", "names", "*")
_ATTRIBUTES: Final = ("input", "principal", "attributes")
_JSON_TYPES: Final = frozenset({"string", "number", "boolean", "array", "object", "set"})
_SCALARS: Final = frozenset({"string", "number", "boolean", "null"})
_PARTS: Final[Mapping[str, tuple[str, Callable[[str, str], bool]]]] = {
    "startswith": ("begins with", str.startswith),
    "endswith": ("ends with", str.endswith),
    "contains": ("contains", str.__contains__),
}
"""Built-in functions about a part of a text, with what they say in words."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def question_schema() -> Schema:
    """Return the schema of a question about one resource; guardrails never get the other forms of the schema."""
    schema: Schema = json.loads((REGO / "schemas/input.json").read_text(encoding="utf-8"))
    for other in ("type", "types", "principals", "questions"):
        del schema["properties"][other]
    # The decision replaces `type` by each name of a type; a test of this member, which most types lack, never holds.
    del schema["definitions"]["resource"]["properties"]["types"]
    return schema


@dataclass(frozen=True, slots=True)
class Shape:
    """A place in the question: `path` (`*` for any member) and `schema`.

    `types` are the names that a resource's type can have, `issuers` those of callers, None where others are possible.
    """

    path: tuple[str, ...]
    schema: Schema
    types: tuple[str, ...]
    issuers: tuple[str, ...] | None = None

    @property
    def is_text(self) -> bool:
        """True if the value is a text."""
        return self.schema.get("type") == "string" or "enum" in self.schema

    @property
    def always_there(self) -> bool:
        """True if the enclosing object always has this member."""
        return len(self.path) > 2 and self.path[-1] != "*" and self.path[-2] != "attributes"

    def member(self, name: str | None, root: Schema) -> Shape | str | None:
        """Return the shape of a member (None: of any); a message if there is no such member; None if it isn't known."""
        kind, below = self.schema.get("type"), self.schema.get("properties")
        if kind == "array":
            return None if name is not None else self._below("*", _resolved(self.schema["items"], root))
        if name is None:
            return None
        if self.is_text:
            return f"{self.named} is a text, which has no member {quoted(name)}"
        open_to = self.schema.get("additionalProperties")
        if below is not None and name in below:
            return self._below(name, _resolved(below[name], root))
        if isinstance(open_to, dict):
            return self._below(name, _resolved(open_to, root))
        return f"no question has {quoted('.'.join([*self.path, name]))}; {did_you_mean(name, below or ())}"

    def _below(self, name: str, schema: Schema) -> Shape:
        return replace(self, path=(*self.path, name), schema=schema)

    @property
    def named(self) -> str:
        """The place as a guardrail spells it, in back-quotes."""
        return quoted(self.spelled)

    @property
    def may_be_null(self) -> bool:
        """True if the value may be null in a question."""
        return "null" in self.schema.get("type", ())

    def refused_literal(self, literal: Tree) -> str | None:
        """Return a message if a literal, as `opa parse` writes it, never equals the value; None for other terms."""
        kind = literal.get("type")
        if kind == "null":
            return None if self.may_be_null else f"{self.named} is never null"
        if kind not in _JSON_TYPES:
            return None
        if self.is_text:
            if kind == "string":
                return self._refused_text(str(literal["value"]))
            return f"{self.named} is a text, which equals nothing else"
        if self._is_list and kind != "array":
            return f"{self.named} is a list, which equals no single value; write `… in {self.spelled}`"
        return None

    def refused_member(self, literal: Tree) -> str | None:
        """Return a message if `literal` is never a member of the value."""
        if self.is_text:
            return f"{self.named} is a text, which nothing is `in`"
        if self.path == _ATTRIBUTES and literal.get("type") in _SCALARS:
            return f"{self.named} holds a list for each name, and is none; write `… in {self.spelled}.NAME`"
        return None

    def _refused_text(self, value: str) -> str | None:
        if self.path == _PATH:
            if value.endswith("*"):
                return f"no `*` of {self.named} stands for other characters; write `startswith({self.spelled}, …)`"
            if found := placeholder(value):
                return (
                    f"{quoted(found)} in {self.named} stands for itself alone; write `regex.match(…, {self.spelled})`"
                )
            sound = value.startswith("/") and (value == "/" or not value.endswith("/")) and "?" not in value
            return (
                None if sound else f"{self.named} is never {quoted(value)}; it begins with `/` and doesn't end with it"
            )
        if self.path == _NAME and (kind := self._type_in_front_of(value)):
            return f"{self.named} has no type in front; write {quoted(value.removeprefix(kind))}"
        known = self._values
        if known is None or value in known:
            return None
        if known is self.types and value in TYPE_SYNONYMS:
            return f"{self.named} is never {quoted(value)}; write `{TYPE_SYNONYMS[value]}`"
        return f"{self.named} is never {quoted(value)}; {did_you_mean(value, known)}"

    def refused_part(self, function: str, part: str) -> str | None:
        """Return a message if no value contains `part` in the way that the built-in `function` tests."""
        verb, holds = _PARTS[function]
        if self.path == _PATH:
            if function == "startswith" and part and (not part.startswith("/") or part.endswith("*")):
                return self._never(verb, part, ["/"] if not part.startswith("/") else [part.rstrip("*")])
            return None
        if self.path == _NAME and function == "startswith" and (kind := self._type_in_front_of(part)):
            return f"{self.named} has no type in front; write {quoted(part.removeprefix(kind))}"
        known = self._values
        if known is None or any(holds(value, part) for value in known):
            return None
        return self._never(verb, part, known)

    def _never(self, verb: str, part: str, known: Iterable[str]) -> str:
        return f"{self.named} never {verb} {quoted(part)}; {did_you_mean(part, known)}"

    def _type_in_front_of(self, name: str) -> str | None:
        written = (f"{kind}::" for kind in (*self.types, *TYPE_SYNONYMS))
        return next((kind for kind in written if name.startswith(kind) and name != kind), None)

    @property
    def spelled(self) -> str:
        """The place as a guardrail spells it."""
        return ".".join(part for part in self.path if part != "*")

    @property
    def _is_list(self) -> bool:
        return self.schema.get("type") == "array"

    @property
    def _values(self) -> tuple[str, ...] | None:
        if self.path == ("input", "resource", "type"):
            return self.types
        if self.path == ("input", "principal", "issuer"):
            return self.issuers
        if self.path == ("input", "route", "method"):
            return _METHODS
        listed = self.schema.get("enum")
        return None if listed is None else tuple(listed)


def question(names: Names) -> Shape:
    """Return the shape of `input` in a guardrail, with these names of record tables and issuers."""
    types = (*RESOURCE_TYPES, *map(type_of_record, names.tables.names))
    issuers = names.issuers
    closed = bool(issuers.names) and not (issuers.uncertain or issuers.unresolved)
    return Shape(("input",), question_schema(), types, issuers.names if closed else None)


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    return schema if reference is None else root["definitions"][reference.removeprefix("#/definitions/")]
