"""Regular expressions: with which texts matches begin, and which texts begin nothing but matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.lints.languages import Start, starts, surely_matches

PIECES = [
    "a",
    "b",
    "/",
    "::",
    ".",
    ".*",
    ".+",
    "[ab]",
    "[^a]",
    "(a|b)",
    "(?:a|ab)",
    "(/.*)?",
    "a?",
    "b*",
    "(a.*|b)",
    "\\w+",
]
PIECES += ["(?!a)", "(?=b)", "(?:ab)+", "(?>a|ab)", "(b|)", "$", "^", "\\Z", "(/.+)*", "a{2}", "\\b", "(a*)*", "(?i:a)"]
patterns = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
texts = st.text("ab/:.Ac", max_size=5)


@settings(max_examples=1_000, derandomize=True, deadline=None)
@given(pattern=patterns, text=texts, rest=texts.filter(bool))
def test_whatever_a_pattern_matches_has_one_of_its_starts(pattern: str, text: str, rest: str) -> None:
    for subject in (text, text + rest):
        if re.match(pattern, subject):
            fits = [
                start.text == subject if start.ends else subject.startswith(start.text) for start in starts(pattern)
            ]
            assert any(fits)
    if surely_matches(pattern, text):
        assert re.match(pattern, text + rest)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", [Start("")]),
        ("^model::a", [Start("model::a")]),
        ("model::(a|b)$", [Start("model::a", ends=True), Start("model::b", ends=True)]),
        ("^/v1/(files|x)(/.*)?$", [Start(f"/v1/{x}{end}", ends=not end) for x in ("files", "x") for end in ("", "/")]),
        ("vector_(db|store)::x+", [Start("vector_db::x"), Start("vector_store::x")]),
        ("(?!x)a", [Start("a")]),
        ("ab?c", [Start("abc"), Start("ac")]),
        ("a*b", [Start("")]),
        ("(?i)a", [Start("")]),
        ("[a-z]", [Start("")]),
        ("|".join(f"a{number}" for number in range(100)), [Start("")]),
    ],
)
def test_starts(pattern: str, expected: list[Start]) -> None:
    assert list(starts(pattern)) == sorted(expected, key=lambda start: start.text)


@pytest.mark.parametrize(
    ("pattern", "start", "expected"),
    [
        ("model::", "model::", True),
        ("model::.*$", "model::", True),
        ("model::(.+)$", "model::", True),
        ("(model|tool)::.*", "tool::", True),
        (r"[a-z_]+::\w+::", "sql_record::responses::", True),
        ("^/v1/files(/.*)?$", "/v1/files/", True),
        ("^/v1/files(/.*)?$", "/v1/files", False),
        ("model::a", "model::", False),
        ("model::[^x]*$", "model::", False),
        ("model::(?!x)", "model::", False),
        (r"model::\b", "model::", False),
        ("(?i)model::", "model::", False),
        (r"(\w+)*!", "sql_record::", False),
        ("a*b*c*d*e*", "model::", False),
    ],
)
def test_what_begins_nothing_but_matches(pattern: str, start: str, expected: bool) -> None:
    assert surely_matches(pattern, start) == expected


@pytest.mark.parametrize("depth", [90, 900])
def test_a_pattern_that_is_nested_deeply_is_let_be(depth: int) -> None:
    assert starts("(" * depth + "a" + ")" * depth) in ((Start("a"),), (Start(""),))
