"""Patterns in `resource` and `paths`: what each means, and how odd ones are reported."""

from __future__ import annotations

import json

import pytest

from policy.resource_types import RECORD_TABLES, RESOURCE_TYPES
from policy.routes import normalize_path
from policy.rules import EveryRecord, Everything, ExactName, ExactPath, OfType, PathPattern, PathPrefix, ResourcePattern
from tests.support.policy_texts import access_rules, codes, read_auth, route_rules


def resource(text: str) -> tuple[ResourcePattern, list[str]]:
    rules, found = access_rules(f"- permit: {{actions: create, resource: {json.dumps(text)}}}")
    return rules[0].resource, codes(found)


def path(text: str) -> tuple[PathPattern, list[str]]:
    rules, found = route_rules(f"- permit: {{paths: {json.dumps(text)}}}")
    return rules[0].paths[0], [code for code in codes(found) if code not in ("unknown-route", "later-route")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", Everything()),
        ("model::a", ExactName("model", "a")),
        ("model::provider/a:latest", ExactName("model", "provider/a:latest")),
        ("model::a::b", ExactName("model", "a::b")),
        ("model:::a", ExactName("model", ":a")),
        ("model::*", OfType("model")),
        ("model::", OfType("model")),
        ("vector_db::v", ExactName("vector_store", "v")),
        ("vector_store::v", ExactName("vector_store", "v")),
        ("vector_db::*", OfType("vector_store")),
        ("sql_record::*", EveryRecord()),
        ("sql_record::", EveryRecord()),
        ("sql_record::openai_files", OfType("sql_record::openai_files")),
        ("sql_record::openai_files::", OfType("sql_record::openai_files")),
        ("sql_record::openai_files::*", OfType("sql_record::openai_files")),
        ("sql_record::openai_files::file-1", ExactName("sql_record::openai_files", "file-1")),
        ("sql_record::responses::a::b", ExactName("sql_record::responses", "a::b")),
    ],
)
def test_a_resource_pattern_means_what_it_says(text: str, expected: ResourcePattern) -> None:
    assert resource(text) == (expected, [])


@pytest.mark.parametrize("kind", RESOURCE_TYPES)
def test_every_type_can_be_named(kind: str) -> None:
    assert resource(f"{kind}::*") == (OfType(kind), [])


@pytest.mark.parametrize("table", RECORD_TABLES)
def test_every_table_can_be_named(table: str) -> None:
    assert resource(f"sql_record::{table}") == (OfType(f"sql_record::{table}"), [])


def test_no_resource_means_every_resource() -> None:
    rules, _ = access_rules("- permit: {actions: read}")
    assert rules[0].resource == Everything()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model::a*", ExactName("model", "a*")),
        ("model::*a", ExactName("model", "*a")),
        ("model::**", ExactName("model", "**")),
        ("sql_record::openai_files::file-*", ExactName("sql_record::openai_files", "file-*")),
        ("sql_record::*::*", OfType("sql_record::*")),
    ],
)
def test_any_other_star_is_a_character_and_said_to_be_one(text: str, expected: ResourcePattern) -> None:
    assert resource(text) == (expected, ["literal-star"])


def test_an_unknown_table_is_only_a_warning() -> None:
    assert resource("sql_record::notes::*") == (OfType("sql_record::notes"), ["unknown-table"])


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("model", "incomplete-resource", "write `model::*` for all of them"),
        ("vector_db", "incomplete-resource", "write `vector_db::*` for all of them"),
        ("sql_record", "incomplete-resource", "write `sql_record::*` for all of them"),
        ("llama", "incomplete-resource", "write it as `model::llama`"),
        ("model:llama", "incomplete-resource", "write it as `model::llama`"),
        ("vector_db:a:b", "incomplete-resource", "write it as `vector_db::a:b`"),
        ("llama3.2:3b", "incomplete-resource", "write it as `model::llama3.2:3b`"),
        ("modle::a", "unknown-type", "did you mean `model`?"),
        ("MODEL::a", "unknown-type", "did you mean `model`?"),
        ("openai_files::*", "unknown-type", "did you mean `sql_record::openai_files::*`?"),
        ("sql_record::::x", "unknown-type", "write `sql_record::*` for every record of every table"),
        ("REGEX:model::a", "unknown-type", None),
        ("*::a", "unknown-type", None),
    ],
)
def test_a_resource_without_a_known_type_is_an_error(text: str, code: str, hint: str | None) -> None:
    policies, found = read_auth(f"access_policy: [{{permit: {{actions: read, resource: {json.dumps(text)}}}}}]")
    assert policies is None
    assert codes(found) == [code]
    if hint is not None:
        assert found[0].hint == hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", Everything()),
        ("/", ExactPath("/")),
        ("///", ExactPath("/")),
        ("/v1/chat/completions", ExactPath("/v1/chat/completions")),
        ("/v1/files/", ExactPath("/v1/files")),
        ("/v1/files*", PathPrefix("/v1/files")),
        ("/v1/files/*", PathPrefix("/v1/files/")),
        ("/*", PathPrefix("/")),
    ],
)
def test_a_path_pattern_means_what_it_says(text: str, expected: PathPattern) -> None:
    pattern, found = path(text)
    assert (pattern, set(found) - {"wide-prefix"}) == (expected, set())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/v1/*/content", ExactPath("/v1/*/content")),
        ("/v1/*/content*", PathPrefix("/v1/*/content")),
        ("/v1/.*", PathPrefix("/v1/.")),
    ],
)
def test_a_star_inside_a_path_is_a_character_and_said_to_be_one(text: str, expected: PathPattern) -> None:
    assert path(text) == (expected, ["literal-star"])


@pytest.mark.parametrize(
    "text", ["v1/files", "files*", "GET /v1/files", "http://host/v1", "**", "Regex:/v1", "//"[:0] + "?"]
)
def test_a_path_starts_with_a_slash(text: str) -> None:
    policies, found = read_auth(f"route_policy: [{{permit: {{paths: {json.dumps(text)}}}}}]")
    assert policies is None
    assert codes(found) == ["invalid-path"]


@pytest.mark.parametrize(
    ("raw", "normal"),
    [("/v1/files/", "/v1/files"), ("/v1/files///", "/v1/files"), ("/v1/files", "/v1/files"), ("/", "/"), ("//", "/"),
     ("", "/"), ("/a//b/", "/a//b"), ("/a b/", "/a b")],
)  # fmt: skip
def test_trailing_slashes_are_removed(raw: str, normal: str) -> None:
    assert normalize_path(raw) == normal
    assert normalize_path(normal) == normal


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("/v1/files/{file_id}", "write `regex:^/v1/files/[^/]+$` for any name"),
        ("/v1/files/<file_id>/content", "write `regex:^/v1/files/[^/]+/content$` for any name"),
        ("/v1/conversations/:id/items/{item}", "write `regex:^/v1/conversations/[^/]+/items/[^/]+$` for any name"),
        ("/v1/files/{file_id}/*", "write `regex:^/v1/files/[^/]+/` for any name"),
        ("/v1/files/{file_id:path}", "write `regex:^/v1/files/[^/]+$` for any name"),
    ],
)
def test_a_variable_part_of_a_path_is_pointed_out(text: str, hint: str) -> None:
    _, found = route_rules(f"- forbid: {{paths: {json.dumps(text)}}}\n- permit: {{paths: '*'}}")
    assert [one.hint for one in found if one.code == "literal-placeholder"] == [hint]


@pytest.mark.parametrize(
    "text", ["/v1/files", "/v1/models/llama:8b", "/v1/models/a{b}", "/v1/models/::", "regex:^/a{2}$"]
)
def test_other_paths_hold_no_variable_part(text: str) -> None:
    _, found = route_rules(f"- forbid: {{paths: {json.dumps(text)}}}\n- permit: {{paths: '*'}}")
    assert "literal-placeholder" not in codes(found)
