"""The part of OpenAI's document that is here, and what holds answers against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.openapi.conformity import properties
from tests.openapi.document import DOCUMENT, NULL_IN_BATCHES, SCHEMAS, Schema, resolved, validator
from tests.openapi.reduce import SERVED, plain, reached
from tests.openapi.samples import Samples

SHOWN = ["ConversationItem", "InputItem", "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "Model"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_everything_that_is_referred_to_is_there_and_nothing_else() -> None:
    paths, components = DOCUMENT["paths"], DOCUMENT["components"]
    assert paths.keys() == SERVED.keys()
    for reference in references(DOCUMENT):
        _, _, family, name = reference.split("/")
        assert name in components[family]
    assert reached(SCHEMAS, [paths, components["responses"]]) == SCHEMAS.keys()
    assert (DOCUMENT["info"]["version"], DOCUMENT["info"]["license"]["identifier"]) == ("2.3.0", "MIT")


def test_what_only_people_read_is_left_out_and_members_of_that_name_stay() -> None:
    schema = {
        "type": "object",
        "description": "x",
        "properties": {"description": {"type": "string", "example": "y"}, "x-a": {"title": "z"}},
        "required": ["description"],
        "x-more": 1,
    }
    members = {"description": {"type": "string"}, "x-a": {}}
    assert plain(schema) == {"type": "object", "properties": members, "required": ["description"]}


def changed(value: Any) -> Iterator[Any]:
    """The value with one thing changed, at every place: gone, null, or of another type."""
    if isinstance(value, dict):
        for name, inner in value.items():
            others = {member: other for member, other in value.items() if member != name}
            yield others
            yield from ({**others, name: odd} for odd in (None, 7, "odd", [], {}, *changed(inner)))
    elif isinstance(value, list) and value:
        yield from ([odd, *value[1:]] for odd in (None, 7, "odd", *changed(value[0])))


@pytest.mark.parametrize("name", SHOWN)
def test_a_value_conforms_here_if_and_only_if_json_schema_says_so(name: str) -> None:
    kinds = resolved({"$ref": f"#/components/schemas/{name}"}).get("oneOf", [SCHEMAS[name]])
    verdicts = {True: 0, False: 0}
    for kind in kinds:
        judge, full = validator(kind), Samples(lambda _name, _schema: None).full(kind)
        for value in (full, *changed(full)):
            valid = judge.is_valid(value)
            verdicts[valid] += 1
            assert valid is all(fault is None for _, fault in properties(kind, value)), value
    assert verdicts[True] >= len(kinds) and verdicts[False] > 5 * len(kinds)


def test_a_batch_has_null_in_the_members_alone_that_are_listed() -> None:
    batch = SCHEMAS["Batch"]
    full = Samples(lambda _name, _schema: None).full(batch)
    allowed = {
        name
        for name in batch["properties"]
        if all(fault is None for _, fault in properties(batch, {**full, name: None}))
    }
    assert allowed == {*NULL_IN_BATCHES, "metadata"}


def test_every_sample_is_what_its_schema_allows() -> None:
    schema: Schema = {"$ref": "#/components/schemas/InputItem"}
    made = [*Samples(lambda _name, _schema: None).around(schema)]
    assert len(made) > 1500
    for value in made:
        assert all(fault is None for _, fault in properties(schema, value)), value
