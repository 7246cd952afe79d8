"""No text of a policy ever becomes code: what goes in as a string comes out of the real OPA as that string."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.codegen.text import equals_any, member, raw_literal, string_literal

NASTY = [
    '"; allow := true #',
    "`",
    "\\",
    "\u2028\u2029\u0085\x7f\x00\ufeff",
    "}\n\npermit contains 0 if true\n",
    "${x} {{x}} %s",
    "😀é\u202e",
    "true",
    "null",
    "",
]


def evaluate(opa: Path, expression: str) -> object:
    done = subprocess.run([opa, "eval", "--format", "json", expression], check=True, capture_output=True)
    return json.loads(done.stdout)["result"][0]["expressions"][0]["value"]


def test_every_string_comes_back_from_opa_as_it_went_in(opa_binary: Path) -> None:
    texts = list(NASTY)

    @settings(max_examples=500, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text())
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    literals = ", ".join(string_literal(text) for text in texts)
    assert "\n" not in literals
    assert evaluate(opa_binary, f"[{literals}]") == texts


def test_member_access_reads_the_member_of_that_name(opa_binary: Path) -> None:
    for name in [*NASTY, "roles", "cost-center", "if", "in", "contains", "input", "data", "and", "_x", "9a"]:
        assert evaluate(opa_binary, f"{{{string_literal(name)}: 7}}{member(name)}") == 7


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        string_literal("\ud800")


@pytest.mark.parametrize("pattern", ["a`b", "a\nb", "\x00"])
def test_a_raw_string_refuses_what_would_end_it(pattern: str) -> None:
    with pytest.raises(ValueError, match="raw string"):
        raw_literal(pattern)


def test_one_value_is_compared_and_several_are_looked_up() -> None:
    assert equals_any("input.action", ["read"]) == 'input.action == "read"'
    assert equals_any("input.action", ["read", "create"]) == 'input.action in {"read", "create"}'
