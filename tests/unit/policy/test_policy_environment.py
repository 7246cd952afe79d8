"""What the environment makes of a text."""

from __future__ import annotations

import pytest

from policy.source.environment import (
    DISABLED,
    Missing,
    empty_conditionals,
    has_expression,
    looks_like_expression,
    substitute,
)

ENVIRON = {"SET": "value", "EMPTY": "", "TWICE": "${env.SET}", "CLOSED": "a}b", "off": "x", "_1": "under"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${env.SET}", "value"),
        ("a ${env.SET} b ${env.SET}", "a value b value"),
        ("${env._1}", "under"),
        ("${env.off}", "x"),
        ("${env.SET:=default}", "value"),
        ("${env.UNSET:=default}", "default"),
        ("${env.EMPTY:=default}", "default"),
        ("${env.UNSET:=http://localhost:11434}", "http://localhost:11434"),
        ("${env.UNSET:=~/.llama/distributions/ollama}/faiss_store.db", "~/.llama/distributions/ollama/faiss_store.db"),
        ("${env.UNSET:=a:=b:+c}", "a:=b:+c"),
        ("${env.UNSET:= }", " "),
        ("${env.UNSET:=}", None),
        ("${env.EMPTY:=}", None),
        ("${env.SET:=}", "value"),
        ("x${env.UNSET:=}y", "xy"),
        ("${env.SET:+production}", "production"),
        ("${env.UNSET:+production}", None),
        ("${env.EMPTY:+production}", None),
        ("x${env.UNSET:+production}y", "xy"),
        ("${env.SET:+}", "value"),
        ("x${env.SET:+}y", "xvaluey"),
        ("x${env.UNSET:+}y", "xy"),
        ("${env.EMPTY:+}", None),
        ('{"a": "${env.UNSET:=b}", "c": {"d": "${env.SET}"}}', '{"a": "b", "c": {"d": "value"}}'),
        ("${env.SET}}", "value}"),
        ("}${env.UNSET:=b}", "}b"),
        ("${env.UNSET:+}", None),
        ("${env.UNSET:__disabled__}", DISABLED),
        ("${env.UNSET:=__disabled__}", DISABLED),
        ("${env.EMPTY:__disabled__}", DISABLED),
        ("${env.SET:__disabled__}", "value"),
        ("${env.UNSET:=}${env.UNSET:=}", ""),
        ("line\n${env.UNSET:=two\nlines}", "line\ntwo\nlines"),
        ("$SET ${SET} $${env.SET}", "$SET ${SET} $value"),
    ],
)
def test_expressions_are_replaced(text: str, expected: str | None) -> None:
    assert substitute(text, ENVIRON) == expected


@pytest.mark.parametrize(("text", "expected"), [("${env.TWICE}", "${env.SET}"), ("${env.CLOSED}", "a}b")])
def test_what_a_variable_holds_is_never_expanded_again(text: str, expected: str) -> None:
    assert substitute(text, ENVIRON) == expected


def test_missing_variables_are_named_once_and_in_order() -> None:
    text = "${env.B}-${env.SET}-${env.A}-${env.B}-${env.EMPTY}-${env.C:=}"
    assert substitute(text, ENVIRON) == Missing(("B", "A", "EMPTY"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${env.1X}", "doesn't start with a variable's name"),
        ("${env.}", "doesn't start with a variable's name"),
        ("${env. A}", "doesn't start with a variable's name"),
        ("${env.A", "isn't closed"),
        ("${env.A:=x", "isn't closed"),
        ("${env.SET} ${env.A", "isn't closed"),
        ("${env.A:-x}", r"a default is written `\${env\.A:=…}`"),
        ("${env.A-x}", r"a default is written `\${env\.A:=…}`"),
        ("${env.A:x}", r"a default is written `\${env\.A:=…}`"),
        ("${env.A:?x}", "has no operator that is known"),
        ("${env.A:=${env.B}}", "holds another one"),
        ("${env.A ${env.SET}", "holds another one"),
        (
            "${env.R:=https://[a-z]{1,3}[.]example[.]com}",
            r"the expression `\${env\.R:=…}` ends at the `}` that is character 27 of the text",
        ),
        ("${env.R:=[^}]*}", r"a `}` without a `{` is left over as character 15 of the text; a default holds no braces"),
        ("${env.R:=a}b}", "is left over as character 13"),
        ("${env.R:=a}}", "is left over as character 12"),
        (r"${env.R:=a\}b}", "is left over as character 14"),
        ("${env.R:='a}b'}", "is left over as character 15"),
        ("${env.R:=${HOME}/x}", "a `{` in front of it is still open"),
        ("${env.R:={}}", "a `{` in front of it is still open"),
        ("${env.SET:+{1}}", r"the expression `\${env\.SET:\+…}` ends"),
        ("${env.SET:+a}b}", r"the expression `\${env\.SET:\+…}` ends at its first `}`"),
        ("${env.A:=x} ${env.R:=a}b} {", "is left over as character 25"),
        ('{"a": ${env.A:={"b": 1}}}', "a `{` in front of it is still open"),
    ],
)
def test_a_malformed_expression_is_explained(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        substitute(text, ENVIRON)
    assert "\n" not in str(caught.value)


def test_what_is_cut_is_refused_whether_the_variable_is_set_or_not() -> None:
    for environ in ({}, {"R": "x"}):
        with pytest.raises(ValueError, match="holds no braces"):
            substitute("${env.R:=a{1}}", environ)


@pytest.mark.parametrize(
    "text",
    [
        *("${env.R:=canary{1}}", "${env.R:=ca}nary}", "${env.R:-canary}", "${env.R-canary}", "${env.R:canary}"),
        *("${env.R:?canary}", "${env.R:=canary", "${env.R:+canary", "${env.R:=canary${env.B}}", "${env.R:=-canary"),
    ],
)
def test_a_default_is_not_shown_since_it_may_be_a_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"env\.R") as caught:
        substitute(text, {})
    assert "canary" not in str(caught.value)


def test_a_conditional_without_a_value_is_found() -> None:
    assert empty_conditionals("${env.A:+} ${env.B:+b} ${env.C:=} ${env.D:+}") == ("A", "D")


def test_an_expression_is_found_even_if_it_is_malformed() -> None:
    assert has_expression("x${env.")
    assert not has_expression("${ENV.A} $env.A")


@pytest.mark.parametrize(
    "text", ["${A}", "http://${HOST}:80", "${A:-b}", "${A:=}", "${A-b}", "${A:?needed}", "${env.A} ${B}", "${environ}"]
)
def test_a_variable_as_shells_write_it_is_noticed(text: str) -> None:
    assert looks_like_expression(text)


@pytest.mark.parametrize("text", ["${env.A}", "${env.A:=${env.B}}", "$A", "${}", "${1}", "{A}", "a$", "${A B}", "${A"])
def test_what_no_shell_would_replace_is_not(text: str) -> None:
    assert not looks_like_expression(text)
