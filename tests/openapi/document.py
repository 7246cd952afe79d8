"""OpenAI's own OpenAPI document, as far as this server serves what it describes."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from json import loads
from typing import Any

from jsonschema import Draft202012Validator

from tests.openapi.reduce import REDUCED

Schema = dict[str, Any]

DOCUMENT: Schema = loads(REDUCED.read_bytes())
SCHEMAS: Schema = DOCUMENT["components"]["schemas"]
ERROR: Schema = {"$ref": "#/components/schemas/ErrorResponse"}
STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """A method and a path, as the document spells it."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def described(self) -> Schema:
        """The document's words on it."""
        found: Schema = DOCUMENT["paths"][self.path][self.method]
        return found

    @property
    def is_described(self) -> bool:
        """Whether the document has a schema of what the operation answers."""
        return "content" in self.described["responses"]["200"] and self.path != "/files/{file_id}/content"

    def answered(self, status: int, kind: str) -> Schema | None:
        """The schema of an answer; None where it is a file, or isn't described. All errors are alike, also those that
        aren't described.
        """
        if status >= 400:
            return ERROR
        if not self.is_described:
            return None
        content, kind = self.described["responses"][str(status)]["content"], kind.partition(";")[0]
        if kind == STREAM and self.path == "/responses/{response_id}":
            # The document says in words alone that the same events come again.
            return Operation("post", "/responses").answered(status, kind)
        if kind == STREAM and kind not in content:
            return _chunk(content["application/json"]["schema"])
        found: Schema = content[kind]["schema"]
        return found

    def asked(self, kind: str = "application/json") -> Schema:
        """The schema of its body."""
        found: Schema = self.described["requestBody"]["content"][kind]["schema"]
        return found


def _chunk(whole: Schema) -> Schema:
    """The schema of a chunk of a completion.

    The document says in words alone that chunks have the form of whole completions. A chunk has no end and no usage
    yet: of the usage it says so, where it describes `stream_options`.
    """
    schema = deepcopy(resolved(whole))
    members = schema["properties"]
    members["usage"]["nullable"] = members["choices"]["items"]["properties"]["finish_reason"]["nullable"] = True
    return schema


NULL_IN_BATCHES = (
    *("errors", "output_file_id", "error_file_id", "in_progress_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at"),
)
"""Optional members of a batch that are null until there is something to say.

The document's schema has no null for them; its example of a batch does, and so do OpenAI's answers.
"""
for _name in NULL_IN_BATCHES:
    assert _name not in SCHEMAS["Batch"]["required"]
    SCHEMAS["Batch"]["properties"][_name]["nullable"] = True

OPERATIONS = [Operation(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]


def operation_of(method: str, target: str) -> Operation:
    """The operation that a request means; `target` begins with `/v1`."""
    path = target.partition("?")[0].removeprefix("/v1")
    for operation in OPERATIONS:
        pattern = re.sub(r"\\\{[^/]*\\\}", "[^/]+", re.escape(operation.path))
        if operation.method == method.lower() and re.fullmatch(pattern, path):
            return operation
    raise LookupError(f"{method} {path} is not in the document")


def resolved(schema: Schema) -> Schema:
    """The schema with what its `$ref` leads to in the place of that; its other members come on top."""
    while "$ref" in schema:
        found = SCHEMAS[schema["$ref"].rpartition("/")[2]]
        schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


def validator(schema: Schema) -> Draft202012Validator:
    """What JSON Schema says of a schema of the document."""
    translated = {"$ref": "#/components/schemas/CompoundFilter"} if "$recursiveRef" in schema else _translated(schema)
    return Draft202012Validator({**translated, "components": {"schemas": _DEFINITIONS}})


def _translated(schema: Any) -> Any:
    """A schema in JSON Schema's words. Alternatives overlap in the document, so more than one of them may hold."""
    if isinstance(schema, list):
        return [_translated(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$recursiveRef" in schema:
        return {"$ref": "#/components/schemas/CompoundFilter"}
    left_out = ("$recursiveAnchor", "default", "discriminator", "nullable", "oneOf")
    made = {name: value for name, value in schema.items() if name not in left_out}
    for name, value in made.items():
        if name in ("properties", "components"):
            made[name] = {member: _translated(inner) for member, inner in value.items()}
        elif name not in ("enum", "required"):
            made[name] = _translated(value)
    if "oneOf" in schema:
        made = {"allOf": [made, {"anyOf": _translated(schema["oneOf"])}]}
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


_DEFINITIONS = {name: _translated(schema) for name, schema in SCHEMAS.items()}
