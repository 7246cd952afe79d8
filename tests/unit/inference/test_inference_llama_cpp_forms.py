"""Patterns that a caller may demand of `inline::llama-cpp`: those that would stop the model are refused."""

from __future__ import annotations

import json

import pytest

from server.inference.providers.llama_cpp.forms import look_for_forms
from server.json_input.strict import InvalidJson, parse_json


def look(pattern: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "pattern": pattern}}}
    look_for_forms(parse_json(json.dumps({"response_format": form}).encode()))


@pytest.mark.parametrize(
    "pattern",
    [
        # Each of these was tried: the model answered nobody for as long as was waited.
        "^((a{0,99}){0,99}){0,99}$",
        "^((a{0,2}){0,2}){0,64}$",
        "^(a{256}|b)*$",
        "^(a?b?c?d?e?){30}$",
        "(a?){60}",
        "a{20}{20}",
        "(a{ 20}){+20 }",
        "(?:a{20}){20}",
        "([)]{20}){20}",
        r"(\)a{20}){20}",
        "(x(a{11}){10}y",
        "(a?|b?|c){30}",
    ],
)
def test_repetitions_inside_of_each_other_are_bounded(pattern: str) -> None:
    with pytest.raises(InvalidJson, match="more than 100 repetitions inside of each other"):
        look(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(\d{1,3}\.){3}\d{1,3}$",
        "^[a-z]{1,2000}$",
        "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z$",
        r"^[a-z]+(\.[a-z]+)*@[a-z]+(\.[a-z]{2,9})+$",
        r"\(a{20}\){20}",
        "[({]{99}",
        "a{50}b{50}c{50}",
        ")){99}",
        "(((",
        "{}{x}",
    ],
)
def test_usual_patterns_pass(pattern: str) -> None:
    look(pattern)
