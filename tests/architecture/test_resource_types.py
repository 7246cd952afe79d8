"""What is written of types of resources beside `policy.resource_types` agrees with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from policy.resource_types import RECORD_TABLES, TYPE_SYNONYMS, TYPES
from policy.served_routes import SERVED
from policy.vocabulary import Action, Origin, type_of_record
from server.api.registry.routes import KINDS
from server.config import Config
from server.config.storage import StoresConfig, Table
from tests.support.registry_server import KINDS as BODIES
from translators.rego_folder import REGO

SCHEMA = json.loads((REGO / "schemas/input.json").read_text())["definitions"]


def evaluated(opa: Path, query: str, question: Any) -> set[str]:
    """The set that a rule of the law has for a question."""
    command = [opa, "eval", "--data", REGO / "ostiary", "--stdin-input", "--format", "raw", query]
    done = subprocess.run(command, input=json.dumps(question), check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", TYPES)
def test_the_law_knows_the_spellings_of_a_type_and_no_others(name: str, opa_binary: Path) -> None:
    spellings = {name, *TYPES[name].synonyms}
    about_one = {"resource": {"type": name, "names": ["a"]}}
    assert evaluated(opa_binary, "data.ostiary.subject.types", about_one) == spellings
    found = evaluated(opa_binary, "data.ostiary.records.spellings", {"type": name})
    assert found == {f"{spelling}::" for spelling in spellings}


def test_no_spelling_is_that_of_two_types() -> None:
    names = [name for row in TYPES.values() for name in (row.name, *row.synonyms)]
    assert len(names) == len(set(names))
    assert TYPE_SYNONYMS.keys().isdisjoint(TYPES)


def test_the_schema_of_questions_has_the_words_of_the_vocabulary() -> None:
    assert SCHEMA["action"]["enum"] == [*Action]
    assert SCHEMA["resource"]["properties"]["origin"]["enum"] == [*Origin]


def test_every_list_of_the_configuration_defines_a_type() -> None:
    other = {"version", "apis", "providers", "safety", "storage", "server"}
    sections = [section for row in TYPES.values() for section in row.sections]
    assert len(sections) == len(set(sections))
    assert Config.model_fields.keys() - other == set(sections)


def test_every_store_that_takes_a_table_name_is_that_of_a_record_table() -> None:
    tables = {key for key, field in StoresConfig.model_fields.items() if issubclass(_model_in(field.annotation), Table)}
    assert tables == {row.store for row in TYPES.values() if row.store is not None}
    assert {type_of_record(table) for table in RECORD_TABLES} == {row.name for row in TYPES.values() if row.table}


def _model_in(annotation: Any) -> type:
    """The class in `Class | None`."""
    (found,) = [part for part in annotation.__args__ if part is not type(None)]
    assert isinstance(found, type)
    return found


def test_every_registered_type_has_routes_that_take_the_name_that_its_entries_have() -> None:
    registered = {row.name: row.registry for row in TYPES.values() if row.registry is not None}
    assert registered == {"model": "/v1/models"} | {kind.type: kind.path for kind in KINDS}
    assert {name: BODIES[name].path for name in registered} == registered
    for name in registered:
        assert BODIES[name].member in TYPES[name].id_fields
        assert TYPES[name].stored
        assert TYPES[name].sections


def test_a_type_is_served_if_some_route_is_about_it() -> None:
    asked = {kind for route in SERVED for _, kind in route.asks}
    assert asked == {row.name for row in TYPES.values() if row.served}
