"""Patterns that match more than they seem to: which ends are open, and when that is worth a word."""

from __future__ import annotations

import json

import pytest

from policy.expressions import literal_start, may_end_in_mid_word
from policy.rules import Regex
from policy.source.diagnostics import Span
from tests.support.policy_texts import access_rules, codes, route_rules

PLACE = Span("config.yaml", 1, 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "model::llama",
        "^/v1/files",
        "model::(llama|mistral)",
        "model::(llama-|mistral)",
        "model::llama-?",
        "^/v1/files(/.*)?",
        "^/v1/files(?:(?:/.*)?)",
        "^/v1/files(?:/.*|)",
        r"model::.*-\d+",
        "model::v[0-9]",
        "^/v1/files/[^/]*",
        "^/v1/files/[^/]+",
        "model::(?>llama)",
        "model::(?:ab)++",
        "model::[^x]",
        "model::é",
        "(?i)model::llama",
        "model::llama^",
    ],
)
def test_an_end_in_mid_word_is_open(pattern: str) -> None:
    assert may_end_in_mid_word(Regex(pattern, PLACE))


@pytest.mark.parametrize(
    "pattern",
    [
        "model::llama$",
        r"model::llama\Z",
        r"model::llama\b",
        "^/v1/(files|models)(/.*)?$",
        "(?:model::a$|model::b$)",
        "model::llama.*",
        "model::llama.+",
        "model::llama.*?",
        "model::llama.",
        "model::llama-",
        "model::(llama-|mistral_)",
        r"model::llama\.",
        "model::",
        "/v1/",
        "model::(.*/)?research-",
        "model::llama(?=-)",
        "model::llama(?!-secret)",
        r"(a)\1",
        ".*",
        "()",
        "^",
    ],
)
def test_an_end_that_the_writer_has_marked_is_not(pattern: str) -> None:
    assert not may_end_in_mid_word(Regex(pattern, PLACE))


@pytest.mark.parametrize("depth", [90, 900])
def test_a_pattern_may_be_nested_deeply(depth: int) -> None:
    assert codes(access_rules(f"- permit: {{actions: read, resource: 'regex:{'(' * depth}a{')' * depth}'}}")[1])


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("model::llama", "model::llama"),
        ("^model::(a|b)", "model::"),
        (r"\Amodel::a+", "model::"),
        ("model::a|model::b", "model::"),
        ("model::a|prompt::b", ""),
        ("(?i)model::a", ""),
        ("(?i:model)::a", ""),
        ("model:{2}a", "model"),
        (r"model::\.x", "model::.x"),
        ("$model", ""),
        ("(?m)^model", "model"),
        ("(model)::a", ""),
    ],
)
def test_the_literal_start_is_what_every_match_starts_with(pattern: str, start: str) -> None:
    assert literal_start(Regex(pattern, PLACE)) == start


def paths(effect: str, *texts: str) -> list[str]:
    return codes(route_rules(f"- {effect}: {{paths: {json.dumps(texts)}}}")[1])


def resource(effect: str, text: str) -> list[str]:
    return codes(access_rules(f"- {effect}: {{actions: read, resource: {json.dumps(text)}}}")[1])


def test_each_open_pattern_of_a_permit_is_pointed_out() -> None:
    assert paths("permit", "/v1/files*", "/v1/models", "regex:^/v1/prompt", "regex:^/v1/files$") == [
        "wide-prefix",
        "unanchored-regex",
    ]
    assert resource("permit", "regex:model::llama") == ["unanchored-regex"]


def test_a_wider_forbid_is_let_be() -> None:
    assert paths("forbid", "/v1/files*", "regex:^/v1/a") == []
    assert resource("forbid", "regex:model::llama") == []


@pytest.mark.parametrize("text", ["/v1/files/*", "/*", "/v1/files-*", "/v1/files_*", "/v1/a.*", "*", "/v1/files"])
def test_a_prefix_that_ends_between_words_is_let_be(text: str) -> None:
    assert "wide-prefix" not in paths("permit", text)


def test_a_pattern_gets_one_remark_at_a_time() -> None:
    assert resource("permit", r"regex:model::a\\.b") == ["doubled-backslash"]
    assert resource("permit", "regex:model::(") == ["invalid-pattern"]
    assert paths("permit", "/v1/*/files*") == ["literal-star"]
