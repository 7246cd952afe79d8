"""What stands for a pattern in a question: every sample is matched by its pattern."""

from __future__ import annotations

import re

import pytest

from policy.rules import EveryRecord, Everything, ExactName, ExactPath, OfType, PathPattern, PathPrefix, Regex
from policy.rules import ResourcePattern as Resource
from policy.source.diagnostics import Span
from policy.tables import Tables
from translators.commands.samples import sample_path, sample_resource, spelled

PLACE = Span("config.yaml", 1, 1)


def regex(pattern: str) -> Regex:
    return Regex(pattern, PLACE)


@pytest.mark.parametrize(
    "pattern",
    [
        "model::(llama|mistral)-.*",
        r"model::.*-3\.\d+-.*",
        r"model::.*-3\\.\\d+-.*",
        "model::(.*/)?research-",
        ".*",
        ".*::a$",
        "(?!model)",
        r"vector_\w+::[a-z]+$",
        "prompt",
        "mod",
        "sql_record::",
        "sql_record::openai_(files|conversations)::[0-9a-f]{8}$",
        "(?i)MODEL::A$",
        "(model|vector_db)::a|tool::b",
        r"[^:]+::[^a-z]\Z",
        "^model::x{2,5}y+?(?:z|)$",
        "model::(?>a|b)c",
        "model::(?=ab)a.$",
        "model::(?=.*-chat)llama.*",
        "(?=model::a)(?=.*z$).*",
        "model::(?!x).+",
        "model::(?!x|a|1)[a-z0-9-]",
        "model::a(?=b)b",
    ],
)
def test_a_resource_for_a_regular_expression(pattern: str) -> None:
    found = sample_resource(regex(pattern), [], Tables())
    assert found is not None
    kind, name = found
    spellings = ["vector_store", "vector_db"] if kind == "vector_store" else [kind]
    assert any(re.match(pattern, f"{spelling}::{name}") for spelling in spellings)


@pytest.mark.parametrize("pattern", ["file::x", "a{30}b", "model::(?=ab)b", "^$", "model$", "(?!x)x", r"\d+::a"])
def test_a_regular_expression_that_no_resource_matches_has_no_sample(pattern: str) -> None:
    assert sample_resource(regex(pattern), [], Tables()) is None


def test_a_pattern_that_python_refuses_has_no_sample() -> None:
    assert sample_resource(Regex("(", PLACE, valid=False), [], Tables()) is None
    assert sample_path(Regex("(", PLACE, valid=False), []) is None


@pytest.mark.parametrize(
    ("pattern", "others", "expected"),
    [
        (ExactName("model", "a"), [OfType("model")], ("model", "a")),
        (OfType("model"), [], ("model", "example")),
        (OfType("model"), [regex("model::ex"), ExactName("model", "another")], ("model", "x")),
        (OfType("vector_store"), [regex("vector_db::example")], ("vector_store", "another")),
        (Everything(), [OfType("model"), OfType("shield")], ("vector_store", "example")),
        (EveryRecord(), [OfType("sql_record::openai_conversations")], ("sql_record::conversation_items", "example")),
        (regex(".*::a$"), [OfType("model")], ("shield", "a")),
        (regex("model::.*"), [regex("model::.*")], ("model", "x")),
        (OfType("model"), [regex("model::(a|aa)+$"), regex(".*")], ("model", "example")),
    ],
)
def test_a_sample_is_one_that_other_patterns_do_not_match(
    pattern: Resource, others: list[Resource], expected: tuple[str, str]
) -> None:
    assert sample_resource(pattern, [pattern, *others], Tables()) == expected


@pytest.mark.parametrize(
    ("pattern", "others", "expected"),
    [
        (ExactPath("/v1/files"), [], "/v1/files"),
        (PathPrefix("/v1/files"), [], "/v1/files/example"),
        (PathPrefix("/v1/files/"), [], "/v1/files/example"),
        (PathPrefix("/v1/files"), [PathPrefix("/v1/files/")], "/v1/filesexample"),
        (PathPrefix("/"), [], "/example"),
        (Everything(), [ExactPath("/v1/example")], "/v1/another"),
        (regex("^/v1/(files|models)(/.*)?$"), [PathPrefix("/v1/files")], "/v1/models"),
        (regex("^/v1/admin/.*$"), [], "/v1/admin/x"),
        (regex("/v1/(?!files)"), [], "/v1/x"),
        (regex(".*a$"), [], "/xa"),
        (regex("v1"), [], None),
        (regex("^/v1/$"), [], None),
    ],
)
def test_a_path_for_a_pattern(pattern: PathPattern, others: list[PathPattern], expected: str | None) -> None:
    assert sample_path(pattern, [pattern, *others]) == expected


def test_patterns_are_spelled_as_in_the_policy() -> None:
    patterns = [Everything(), EveryRecord(), OfType("model"), ExactName("model", "a"), PathPrefix("/v1/"), regex("^a$")]
    assert [spelled(pattern) for pattern in patterns] == [
        "*",
        "sql_record::*",
        "model::*",
        "model::a",
        "/v1/*",
        "regex:^a$",
    ]
