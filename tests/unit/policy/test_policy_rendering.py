"""Diagnostics on paper and in JSON."""

from __future__ import annotations

import json
import re
import time

import pytest

from policy.source.diagnostics import Diagnostic, Severity, Span, did_you_mean, quoted
from policy.source.rendering import LINE_WIDTH, as_json, render


def at(line: int, column: int, message: str = "wrong", hint: str = "") -> Diagnostic:
    return Diagnostic(Severity.ERROR, "code", message, Span("c.yaml", line, column), hint)


def test_a_diagnostic_shows_its_line_a_caret_and_a_hint() -> None:
    assert render([at(2, 4, hint="do this")], {"c.yaml": "a: 1\nb: 2\n"}, color=False) == (
        "c.yaml:2:4: error: wrong\n 2 | b: 2\n   |    ^\n   = do this"
    )


def test_diagnostics_come_in_the_order_of_their_places_and_once() -> None:
    rendered = render([at(3, 1), at(1, 2), at(3, 1), at(1, 1)], {}, color=False)
    assert re.findall(r"c\.yaml:\d:\d", rendered) == ["c.yaml:1:1", "c.yaml:1:2", "c.yaml:3:1"]


def test_without_its_source_a_diagnostic_still_has_its_place() -> None:
    assert render([at(5, 1)], {"other.yaml": "x"}, color=False) == "c.yaml:5:1: error: wrong"
    assert render([at(5, 1)], {"c.yaml": "x"}, color=False) == "c.yaml:5:1: error: wrong"


def test_colour_is_there_only_when_it_is_wanted() -> None:
    colored = render([at(1, 1, hint="h")], {"c.yaml": "x"}, color=True)
    plain = render([at(1, 1, hint="h")], {"c.yaml": "x"}, color=False)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert colored != plain


def test_control_characters_never_reach_the_terminal() -> None:
    rendered = render([at(1, 4, message="bad \x1b[2J", hint="\x07")], {"c.yaml": "a\x1bb\u202e: \t1"}, color=False)
    assert rendered == ("c.yaml:1:4: error: bad \\x1b[2J\n 1 | a\\x1bb\\u202e: \\t1\n   | " + " " * 6 + "^\n   = \\x07")


def test_a_long_line_is_cut_around_the_place() -> None:
    line = "".join(chr(ord("a") + i % 26) for i in range(100_000))
    for column in (1, 50, 500, 99_999, 100_000):
        _, shown, caret = render([at(1, column)], {"c.yaml": line}, color=False).split("\n")
        assert len(shown) <= LINE_WIDTH + len(" 1 | ……")
        assert shown[caret.index("^")] == line[column - 1]


def test_a_line_of_megabytes_costs_nothing() -> None:
    line = "api_key" * 1_000_000
    start = time.process_time()
    render([at(1, column) for column in range(1, 7_000_000, 700_000)], {"c.yaml": line}, color=False)
    assert time.process_time() - start < 1.0


def test_wide_characters_are_counted_as_a_terminal_shows_them() -> None:
    _, _, caret = render([at(1, 4)], {"c.yaml": "日本e\u0301x"}, color=False).split("\n")
    assert caret == "   | " + " " * 5 + "^"


def test_secrets_are_masked() -> None:
    text = "api_key: sk-1\na: [{client_secret: 's', a: b}]\ntoken: t # c\nmax: 1\n"
    rendered = render([at(line, 1) for line in (1, 2, 3, 4)], {"c.yaml": text}, color=False)
    shown = [line.partition(" | ")[2] for line in rendered.split("\n") if re.match(r" \d \|", line)]
    assert shown == ["api_key: ***", "a: [{client_secret: ***, a: b}]", "token: *** # c", "max: 1"]


def shown_lines(text: str) -> list[str]:
    """Every line of a file as a diagnostic at its first column shows it."""
    count = text.count("\n") + 1
    rendered = render([at(line, 1) for line in range(1, count + 1)], {"c.yaml": text}, color=False).split("\n")
    return [line.partition("|")[2].removeprefix(" ") for line in rendered if re.match(r" \d+ \|", line)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_tokens: 100", "max_tokens: 100"),
        ("cors: {allow_credentials: true, max_age: 5}", "cors: {allow_credentials: true, max_age: 5}"),
        ("{limits: {max_tokens: 5}, api_key: sk-canary, port: 1}", "{limits: {max_tokens: 5}, api_key: ***, port: 1}"),
        ("tls_keyfile: /a/key.pem", "tls_keyfile: /a/key.pem"),
        ("token_file: /a/token", "token_file: /a/token"),
        ("key_recheck_period: 3600", "key_recheck_period: 3600"),
        ("send_secret_in_body: true", "send_secret_in_body: true"),
        ("tokens: 5", "tokens: 5"),
        ("period_tokens: 5", "period_tokens: 5"),
        ("tokens: sk-canary", "tokens: ***"),
        ("token: 12345", "token: ***"),
        ("{token: [sk-canary, 'sk-canary2'], a: b}", "{token: [***, ***], a: b}"),
        ("{credentials: {user: canary, pw: canary}, a: b}", "{credentials: {user: ***, pw: ***}, a: b}"),
        ('"api_key": "sk-canary"', '"api_key": ***'),
        ("'api-key' : sk canary # why", "'api-key' : *** # why"),
        ("api_kye: sk-canary", "api_kye: ***"),
        ("pasword: canary", "pasword: ***"),
        ("clientSecret: canary", "clientSecret: ***"),
        ("OPENAI_API_KEY: canary", "OPENAI_API_KEY: ***"),
        ("api_key: ${env.KEY}", "api_key: ${env.KEY}"),
        ("api_key: ${env.KEY:=}", "api_key: ${env.KEY:=}"),
        ("api_key: ${env.KEY:=sk-canary}", "api_key: ***"),
        ("a: {url: 'https://u:canary@h/p?k=canary', b: c}", "a: {url: 'https://***@h/p?***', b: c}"),
        ("url: postgres://u:can@ary@h/db", "url: postgres://***@h/db"),
        ("uri: https://h/jwks?subscription-key=canary # c", "uri: https://h/jwks?*** # c"),
        ("url: http://h:1/p", "url: http://h:1/p"),
        ("- permit: {resource: 'regex:model::(?:a|b)'}", "- permit: {resource: 'regex:model::(?:a|b)'}"),
        ("when: user with token in roles", "when: user with token in roles"),
        ("api_key: !x canary", "api_key: ***"),
        ("api_key: &a canary", "api_key: ***"),
        ("api_key: sk-canary: [", "api_key: ***"),
        ("secrt: canary", "secrt: ***"),
        ("pass: canary", "pass: ***"),
        ("{Authorization: Bearer canary, Cookie: canary, taken: 1}", "{Authorization: ***, Cookie: ***, taken: 1}"),
        ("{a: b, headers: {Authorization: 'canary', n: 1}, m: @", "{a: b, headers: {Authorization: ***, n: 1}, m: @"),
        ('{"a":{"api_key":"sk-canary"}, max_tokens: 5, m: @', '{"a":{"api_key":***}, max_tokens: 5, m: @'),
        ("{a: {api_key: [canary, 'canary2'], b: c}, m: @", "{a: {api_key: ***"),
        ("{client_secret: 'can''ary', token: ${env.X}, m: @", "{client_secret: ***, token: ${env.X}, m: @"),
    ],
)
def test_secrets_alone_are_masked(text: str, expected: str) -> None:
    assert shown_lines(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\napi_key: |\n  canary\n  canary\nb: 2", ["a: 1", "api_key: |", "  ***", "  ***", "b: 2"]),
        ("api_key: >-\n    canary\n\n    canary\nb: 2", ["api_key: >-", "    ***", "", "    ***", "b: 2"]),
        ('api_key: "canary\n  canary"\nb: 2', ["api_key: ***", "  ***", "b: 2"]),
        ("api_key: canary\n  canary\nb: 2", ["api_key: ***", "  ***", "b: 2"]),
        ("{api_key: canary\n  canary, b: 2}", ["{api_key: ***", "  ***, b: 2}"]),
        ("api_key:\n  canary\nb: 2", ["api_key:", "  ***", "b: 2"]),
        ("? api_key\n: canary\nb: 2", ["? api_key", ": ***", "b: 2"]),
        ("tokens:\n- canary\n- canary\nb: 2", ["tokens:", "- ***", "- ***", "b: 2"]),
        ("a: 1\napi_key: canary\nb: [", ["a: 1", "api_key: ***", "b: ["]),
        ("b: [\napi_key: canary", ["b: [", "api_key: ***"]),
        ("\ufeffapi_key: canary\r\nb: 2", ["api_key: ***", "b: 2"]),
    ],
)
def test_secrets_of_several_lines_are_masked(text: str, expected: list[str]) -> None:
    assert shown_lines(text) == expected


@pytest.mark.parametrize("column", [1, 5, 12, 30, 40])
def test_the_caret_stays_where_the_mistake_is(column: int) -> None:
    line = "{api_key: sk-canary-canary, prot: 8321, url: https://u:p@h/}"
    _, shown, caret = render([at(1, column)], {"c.yaml": line}, color=False).split("\n")
    marked = shown[caret.index("^")]
    assert marked == ("*" if column == 12 else line[column - 1])


def test_a_secret_is_masked_wherever_the_place_is() -> None:
    line = f"{{a: {'x' * 300}, api_key: {'canary' * 60}, b: c}}"
    for column in range(1, len(line) + 1, 7):
        assert "canary" not in render([at(1, column)], {"c.yaml": line}, color=False)


def test_line_ends_of_windows_are_not_shown() -> None:
    assert " 1 | a\n" in render([at(1, 1)], {"c.yaml": "\ufeffa\r\nb\r\n"}, color=False)


def test_json_is_flat_and_complete() -> None:
    assert json.loads(json.dumps(as_json(at(2, 3, hint="h")))) == {
        "severity": "error", "code": "code", "message": "wrong", "hint": "h", "file": "c.yaml", "line": 2, "column": 3,
    }  # fmt: skip


def test_user_text_in_messages_is_short_and_visible() -> None:
    assert quoted("a\nb") == "`a\\nb`"
    assert quoted("x" * 80) == f"`{'x' * 80}`"
    assert quoted("x" * 81) == f"`{'x' * 79}…`"


def test_suggestions_ignore_case() -> None:
    assert did_you_mean("get", ["GET", "POST"]) == "did you mean `GET`?"
    assert did_you_mean("zzz", ["b", "A"]) == "use one of `A`, `b`"


def test_one_choice_is_no_choice() -> None:
    assert did_you_mean("zzz", ["only"]) == "use `only`"
    assert did_you_mean("onyl", ["only"]) == "did you mean `only`?"
