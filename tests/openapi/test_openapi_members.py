"""The tables of members say what OpenAI's document says, and nothing that it doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.api.chat.members import ANSWER, MESSAGE
from server.api.conversations.item_members import ITEMS
from server.json_input.members import Members
from tests.openapi.conformity import properties
from tests.openapi.document import SCHEMAS, Schema, resolved


def objects(schema: Schema) -> Iterator[Schema]:
    """The schemas of objects that a value of this schema may be, each with all of its parts."""
    schema = resolved(schema)
    alternatives = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    for each in alternatives:
        yield from objects(each)
    if "allOf" in schema:
        parts = [found for part in schema["allOf"] for found in objects(part)]
        members = {name: inner for part in parts for name, inner in part.get("properties", {}).items()}
        yield {"properties": members, "required": [name for part in parts for name in part.get("required", ())]}
    elif not alternatives and "properties" in schema:
        yield schema


def of_type(kind: str, schemas: Iterator[Schema]) -> list[Schema]:
    return [each for each in schemas if kind in each["properties"].get("type", {}).get("enum", ())]


def check(members: Members, schemas: list[Schema]) -> None:
    """The members are those of the schemas: what is given is required, what is dropped is optional and never null."""
    assert schemas
    known = {name: inner for each in schemas for name, inner in each["properties"].items()}
    required = {name for each in schemas for name in each.get("required", ())}
    for name, value in members.given.items():
        assert name in required
        allowed = {"anyOf": [each["properties"][name] for each in schemas if name in each["properties"]]}
        assert all(fault is None for _, fault in properties(allowed, value)), name
    for name in members.never_null:
        assert name not in required
        assert any(fault is not None for _, fault in properties(known[name], None)), name
    for name, inner in members.inside.items():
        check(inner, [*objects(known[name])])
    for name, inner in members.each.items():
        check(inner, [*objects(entries(known[name]))])
    for name, kinds in members.parts.items():
        for kind, inner in kinds.items():
            # A table is shared by lists that may not have all of its parts.
            if found := of_type(kind, objects(entries(known[name]))):
                check(inner, found)


def entries(schema: Schema) -> Schema:
    """The schema of what is in the lists that this schema allows."""
    schema = resolved(schema)
    lists = [schema, *map(resolved, [*schema.get("oneOf", ()), *schema.get("anyOf", ())])]
    return next(each["items"] for each in lists if "items" in each)


@pytest.mark.parametrize("kind", sorted(ITEMS))
def test_the_table_of_items_is_the_documents(kind: str) -> None:
    check(ITEMS[kind], of_type(kind, objects(SCHEMAS["ConversationItem"])))


def test_the_table_of_answers_is_the_documents() -> None:
    check(ANSWER, [*objects(SCHEMAS["CreateChatCompletionResponse"])])
    listed = resolved(SCHEMAS["ChatCompletionMessageList"])
    check(MESSAGE, [*objects(entries(listed["properties"]["data"]))])
