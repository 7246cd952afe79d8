"""Diagnostics on paper and in JSON."""

from __future__ import annotations

import json
import re
import time

from policy.diagnostics import Diagnostic, Severity, Span, did_you_mean, quoted
from policy.rendering import LINE_WIDTH, as_json, render


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
    text = "api_key: sk-1\n  - {client_secret: 's', a: b}\ntoken: t # c\nmax: 1\n"
    rendered = render([at(line, 1) for line in (1, 2, 3, 4)], {"c.yaml": text}, color=False)
    shown = [line.partition(" | ")[2] for line in rendered.split("\n") if re.match(r" \d \|", line)]
    assert shown == ["api_key: ***", "  - {client_secret: ***", "token: ***", "max: 1"]


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
