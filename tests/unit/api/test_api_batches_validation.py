"""Input files of batches: what each line has to be, the errors with their places, and what is told of right lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api.batches import validation
from server.api.batches.line_checks import ENOUGH, LONGEST_ID, LONGEST_LINE, MOST_TOGETHER
from server.api.batches.validation import MOST_BYTES, MOST_ERRORS, CheckedLine, InvalidInput, LineError, check_lines
from server.fairness.shares import NoRoom
from server.json_input import reader as reading
from server.json_input.reader import Reader

CHAT = "/v1/chat/completions"
BOM = b"\xef\xbb\xbf"


class Checker:
    """A reader of one event loop, which checks files in pieces of any size."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.reader = self.runner.run(self._made())
        self.kept: list[CheckedLine] = []

    async def _made(self) -> Reader:
        return Reader()

    def close(self) -> None:
        self.runner.run(self.reader.close())
        self.runner.close()

    def lines(self, raw: bytes, piece: int = 1 << 18, size: int | None = None) -> tuple[list[CheckedLine], str | None]:
        found = self.kept = []

        async def keep(lines: Sequence[CheckedLine]) -> None:
            assert 0 < len(lines) <= MOST_TOGETHER
            found.extend(lines)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(raw), piece):
                yield raw[start : start + piece]

        length = len(raw) if size is None else size
        model = self.runner.run(check_lines(self.reader, pieces(), length, CHAT, keep))
        assert self.reader.room.shares.used == 0
        return found, model

    def errors(self, raw: bytes, piece: int = 1 << 18, size: int | None = None) -> list[tuple[int | None, str]]:
        """Line and code of each error."""
        return [(error.line, error.code) for error in self.refused(raw, piece, size)]

    def refused(self, raw: bytes, piece: int = 1 << 18, size: int | None = None) -> tuple[LineError, ...]:
        with pytest.raises(InvalidInput) as refusal:
            self.lines(raw, piece, size)
        return refusal.value.errors


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker()
    yield made
    made.close()


def line(identity: Any = "one", **changed: Any) -> bytes:
    """A right line but for what is changed; a change to `...` leaves the member out."""
    whole = {"custom_id": identity, "method": "POST", "url": CHAT, "body": {"model": "m", "messages": []}, **changed}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def test_each_line_is_told_with_the_place_of_its_body(checker: Checker) -> None:
    first = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body": {"model":"m", "x":1.50}  }'
    second = (
        '{"body":{"model":"ü€😀","stream":true},"url":"/v1/chat/completions","method":"POST","custom_id":"ß"}'.encode()
    )
    raw = first + b"\n" + second + b"\n"
    found, model = checker.lines(raw)
    assert [raw[each.start : each.end] for each in found] == [
        b'{"model":"m", "x":1.50}',
        '{"model":"ü€😀","stream":true}'.encode(),
    ]
    assert [(each.number, each.custom_id, each.streams) for each in found] == [(1, "a", False), (2, "ß", True)]
    assert model is None
    assert checker.lines(first)[1] == "m"


@pytest.mark.parametrize(
    "harmless",
    [
        lambda lines: BOM + b"\n".join(lines),
        lambda lines: b"\r\n".join(lines) + b"\r\n",
        lambda lines: b"\n".join(lines) + b"\n\n \t\r\n\n",
        lambda lines: BOM + b"\r\n".join(lines) + b"\r\n\r\n   ",
        lambda lines: b"\n".join(b"  " + each + b"\t" for each in lines),
    ],
)
@pytest.mark.parametrize("piece", [3, 7, 1 << 18])
def test_what_is_harmless_moves_the_places_alone(
    checker: Checker, harmless: Callable[[list[bytes]], bytes], piece: int
) -> None:
    raw = harmless([line("a"), line("b")])
    found, _ = checker.lines(raw, piece)
    assert [(each.number, each.custom_id) for each in found] == [(1, "a"), (2, "b")]
    assert {raw[each.start : each.end] for each in found} == {b'{"model": "m", "messages": []}'}


WRONG = [
    (b"{", "invalid_json_line", None),
    (b"[]", "invalid_json_line", None),
    (b'"text"', "invalid_json_line", None),
    (b"null", "invalid_json_line", None),
    (b"{}{}", "invalid_json_line", None),
    (line() + b" x", "invalid_json_line", None),
    (BOM + line(), "invalid_json_line", None),
    (line().decode().encode("utf-16-le"), "invalid_json_line", None),
    (b"\xff" + line(), "invalid_json_line", None),
    (line(body={"model": "m", "x": float("nan")}), "invalid_json_line", None),
    (b'{"custom_id":"b",' + line()[1:], "invalid_json_line", None),
    (line("\ud800"), "invalid_json_line", None),
    (line(body={"model": "m", "x": json.loads("[" * 63 + "]" * 63)}), "invalid_json_line", None),
    (b'{"a":' * 100_000, "invalid_json_line", None),
    (line(...), "missing_required_parameter", "custom_id"),
    (line(method=...), "missing_required_parameter", "method"),
    (line(url=...), "missing_required_parameter", "url"),
    (line(body=...), "missing_required_parameter", "body"),
    (line(body={"messages": []}), "missing_required_parameter", "body.model"),
    (line(""), "invalid_value", "custom_id"),
    (line(5), "invalid_value", "custom_id"),
    (line(None), "invalid_value", "custom_id"),
    (line(["a"]), "invalid_value", "custom_id"),
    (line({"a": "b"}), "invalid_value", "custom_id"),
    (line("x" * (LONGEST_ID + 1)), "invalid_value", "custom_id"),
    (line("a\0b"), "invalid_value", "custom_id"),
    (line(method="GET"), "invalid_method", "method"),
    (line(method="post"), "invalid_method", "method"),
    (line(method=None), "invalid_method", "method"),
    (line(url="/v1/embeddings"), "url_mismatch", "url"),
    (line(url=CHAT + "?x"), "url_mismatch", "url"),
    (line(url=CHAT + "/"), "url_mismatch", "url"),
    (line(url="//v1/chat/completions"), "url_mismatch", "url"),
    (line(url="/v1/chat%2Fcompletions"), "url_mismatch", "url"),
    (line(url="http://localhost" + CHAT), "url_mismatch", "url"),
    (line(url=" " + CHAT), "url_mismatch", "url"),
    (line(url="/v1/x/../chat/completions"), "url_mismatch", "url"),
    (line(url=[CHAT]), "url_mismatch", "url"),
    (line(body=[]), "invalid_value", "body"),
    (line(body="{}"), "invalid_value", "body"),
    (line(body=None), "invalid_value", "body"),
    (line(body={"model": ""}), "invalid_value", "body.model"),
    (line(body={"model": {"a": 1}}), "invalid_value", "body.model"),
    (line(body={"model": "m" * 513}), "invalid_value", "body.model"),
]


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_line_is_told_with_its_number(checker: Checker, wrong: bytes, code: str, param: str | None) -> None:
    (error,) = checker.refused(b"\n".join([line("first"), line("second"), wrong, line("last")]))
    assert (error.code, error.param, error.line) == (code, param, 3)
    assert error.shown() == {"code": code, "message": error.message, "param": param, "line": 3}
    assert "body is" not in error.message and "line 1" not in error.message


def test_a_line_may_be_as_deep_as_a_body(checker: Checker) -> None:
    deepest = json.loads("[" * 62 + "]" * 62)
    found, _ = checker.lines(line(body={"model": "m", "x": deepest}) + b"\n" + line("x" * LONGEST_ID))
    assert len(found) == 2


def test_a_name_that_comes_twice_is_told_at_the_second_line(checker: Checker) -> None:
    raw = b"\n".join([line("a"), line("b"), line("a"), line("\\u0061"), b'{"custom_id":"\\u0061",' + line(...)[1:]])
    errors = checker.refused(raw)
    assert [(error.line, error.code, error.param) for error in errors] == [
        (3, "duplicate_custom_id", "custom_id"),
        (5, "duplicate_custom_id", "custom_id"),
    ]
    assert errors[0].message == "`custom_id` is that of line 1; give each line its own"


def test_names_are_compared_across_the_whole_file(checker: Checker) -> None:
    lines = [line(f"n{number}") for number in range(3 * MOST_TOGETHER)]
    raw = b"\n".join([*lines, line("n0")])
    assert checker.errors(raw) == [(3 * MOST_TOGETHER + 1, "duplicate_custom_id")]
    assert [each.number for each in checker.kept] == list(range(1, 3 * MOST_TOGETHER + 1))


@pytest.mark.parametrize("raw", [b"", b"\n", b" \r\n\t\n", BOM, BOM + b"\n\n"])
@pytest.mark.parametrize("piece", [1, 1 << 18])
def test_a_file_without_lines(checker: Checker, raw: bytes, piece: int) -> None:
    assert checker.errors(raw, piece) == [(None, "empty_file")]


def test_blank_lines_between_others_are_told_once_a_run(checker: Checker) -> None:
    raw = b"\n".join([b"", b" ", line("a"), b"", b"", line("b"), b"", b""])
    for piece in (1, 5, 1 << 18):
        assert checker.errors(raw, piece) == [(1, "invalid_json_line"), (4, "invalid_json_line")]


def test_blanks_behind_what_a_process_reads_at_a_time_are_told_where_they_begin(checker: Checker) -> None:
    raw = line("a") + b"\n" + (b" " * 50 + b"\n") * (ENOUGH // 20)
    assert len(checker.lines(raw)[0]) == len(checker.lines(raw + b" " * 2 * ENOUGH)[0]) == 1
    assert checker.errors(raw + line("b")) == [(2, "invalid_json_line")]
    assert checker.errors(raw + b"{") == [(2, "invalid_json_line"), (2 + ENOUGH // 20, "invalid_json_line")]


def test_one_line_more_than_may_be(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MOST_LINES", 700)
    lines = [line(f"n{number}") for number in range(700)]
    assert len(checker.lines(b"\n".join(lines) + b"\n\n")[0]) == 700
    assert checker.errors(b"\n".join([*lines, line("more"), b"{", line("n0")])) == [(701, "too_many_tasks")]
    assert checker.errors(b"\n".join([b"{", *lines, b"{"])) == [(1, "invalid_json_line"), (701, "too_many_tasks")]


def test_errors_are_as_many_as_are_told_and_the_rest_is_not_read(checker: Checker) -> None:
    errors = checker.refused(b"{\n" * 5000 + line())
    assert [error.line for error in errors] == list(range(1, MOST_ERRORS + 1))


def test_a_file_that_is_too_large_is_not_read(checker: Checker) -> None:
    assert checker.errors(line(), size=MOST_BYTES + 1) == [(None, "file_too_large")]
    assert len(checker.lines(line(), size=MOST_BYTES)[0]) == 1


def test_a_line_is_as_long_as_a_body_may_be(checker: Checker) -> None:
    room = LONGEST_LINE - len(line("a", body={"model": "m", "x": ""}))
    longest = line("a", body={"model": "m", "x": "y" * room})
    assert len(longest) == LONGEST_LINE
    found, _ = checker.lines(b"\n".join([longest, line("b")]))
    assert [each.custom_id for each in found] == ["a", "b"]
    assert checker.errors(b"\n".join([line("b"), longest + b" ", line("c")])) == [(2, "line_too_large")]
    assert checker.errors(b" " * (LONGEST_LINE + 1)) == [(1, "line_too_large")]


def test_a_line_of_too_many_values_is_an_error_of_that_line(checker: Checker) -> None:
    hostile = line("a", body={"model": "m", "x": 0}).replace(b"0", b"[" + b"[]," * 3_300_000 + b"0]")
    assert checker.errors(b"\n".join([line("b"), hostile, line("c")])) == [(2, "line_too_large")]


def test_a_process_that_fails_is_no_fault_of_the_file(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_SECONDS", 0.0)
    with pytest.raises(NoRoom):
        checker.lines(line())


IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
BLANK = st.sampled_from([b"", b" ", b"\t"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(IDS, min_size=1, max_size=12, unique=True),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 400),
    BLANK,
    st.lists(BLANK, max_size=4),
    st.booleans(),
)
def test_every_line_comes_back_in_its_order(
    checker: Checker, names: list[str], end: bytes, piece: int, margin: bytes, blanks: list[bytes], marked: bool
) -> None:
    bodies = [{"model": "m", "messages": [{"role": "user", "content": name}]} for name in names]
    spelled = [json.dumps(body, ensure_ascii=marked).encode() for body in bodies]
    lines = [margin + line(name, body=0)[:-2] + body + b"}" + margin for name, body in zip(names, spelled, strict=True)]
    raw = (BOM if marked else b"") + end.join([*lines, *blanks])
    found, model = checker.lines(raw, piece)
    assert [each.custom_id for each in found] == names
    assert [each.number for each in found] == list(range(1, len(names) + 1))
    assert [raw[each.start : each.end] for each in found] == spelled
    assert model == "m"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"{", line("a"), line("b"), b"", b"[]"]), min_size=1, max_size=9), st.integers(1, 99))
def test_any_cut_into_pieces_has_the_same_errors(checker: Checker, lines: list[bytes], piece: int) -> None:
    raw = b"\n".join(lines)
    told = []
    for size in (piece, len(raw) + 1):
        try:
            told.append([(each.number, each.start) for each in checker.lines(raw, size)[0]])
        except InvalidInput as invalid:
            told.append([(error.line, error.code) for error in invalid.errors])
    assert told[0] == told[1]
