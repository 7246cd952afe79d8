"""Characters of texts, and files that are none."""

from __future__ import annotations

import codecs

import pytest

from server.extraction.kinds import HEAD, Kind, kind_of
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import decoded
from tests.support.extraction import extracted

TEXT = "na\u00efve \u2013 \u20ac\u4e2d\U0001f600\n"


def text_of(data: bytes, size: int = 7) -> str:
    return "".join(decoded(data[start : start + size] for start in range(0, len(data), size)))


@pytest.mark.parametrize(
    ("mark", "charset"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_marks_tell_the_charset(mark: bytes, charset: str) -> None:
    assert text_of(mark + TEXT.encode(charset)) == TEXT
    assert extracted(mark + TEXT.encode(charset)).text == TEXT.strip()


def test_what_is_not_utf_8_is_windows_1252() -> None:
    assert text_of(b"caf\xe9 \x80 \x93x\x94 \x81") == "caf\u00e9 \u20ac \u201cx\u201d \x81"
    mixed = b"utf-8 caf\xc3\xa9, then caf\xe9, cut \xc3"
    assert text_of(mixed, 1) == text_of(mixed, 100) == "utf-8 caf\u00e9, then caf\u00e9, cut \u00c3"


def test_ends_of_lines_are_line_feeds_and_nul_is_a_blank() -> None:
    text = b"a\r\nb\rc\n" + b"words " * 100 + b"d\x00e"
    assert text_of(text) == "a\nb\nc\n" + "words " * 100 + "d e"
    assert text_of("\ud800".encode("utf-16-le", "surrogatepass").join([codecs.BOM_UTF16_LE, b"a\x00"])) == "\ufffda"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(range(256)) * 20, "no text"),
        (b"some\x00text\x00with\x00many" * 10, "no text"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442 ".encode("cp1251") * 50, "UTF-8"),
        ("\u65e5\u672c\u8a9e\u306e".encode("shift_jis") * 50, "UTF-8"),
        (b"#!/bin/sh\n" * 50_000 + bytes(range(256)) * 2000, "no text"),
        (b"{\\rtf1 hello}", "an RTF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "an image"),
        (b"\x1f\x8b" + bytes(50), "a gzip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old version of Office"),
    ],
)
def test_files_of_other_kinds_are_unsupported_whatever_their_name(data: bytes, words: str) -> None:
    for name, media_type in (("a.txt", "text/plain"), ("a.pdf", "application/pdf"), ("a", "")):
        code, message = extracted(data, name, media_type=media_type).refused
        assert (code, words in message) == (Code.UNSUPPORTED_FILE, True), message


@pytest.mark.parametrize(
    "data", [b"", b" \r\n\t" * 500, codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\x00", "\u200b".encode()]
)
def test_a_file_without_text_fails(data: bytes) -> None:
    for name in ("a.txt", "a.html"):
        found = extracted(data, name)
        assert found.refused[0] in (Code.INVALID_FILE, Code.UNSUPPORTED_FILE)
        assert not found.pieces


def test_the_beginning_of_a_file_goes_before_its_name() -> None:
    for name in ("a.txt", "a.docx", "a", "a.PDF"):
        assert kind_of(b"\n%PDF-1.4", name, "text/plain") is Kind.PDF
        assert kind_of(b"PK\x03\x04", name, "text/plain") is Kind.OFFICE
    assert kind_of(b"some text", "a.pdf", "application/pdf") is Kind.TEXT
    assert kind_of(b"From: a\r\nDate: b\r\n\r\nc", "a", "") is Kind.MAIL
    assert kind_of(b"From: a\r\nDate: b\r\n\r\nc", "a.txt", "") is Kind.TEXT
    assert kind_of(b"a,b", "a.b.CSV", "") is Kind.TABLE


@pytest.mark.parametrize("head", [b"<?xml" * 1000, b" " * 5000, b"X-" * 2000, b"<" * 5000, b"From:" * 1000])
def test_a_hostile_beginning_takes_no_time(head: bytes) -> None:
    assert kind_of(head[:HEAD], "a" * 1000 + "." * 1000, ";" * 1000) is Kind.TEXT


def test_a_charset_that_a_file_names_needs_no_mark() -> None:
    assert "".join(decoded([b"\xf0\xd2\xc9"], "koi8-r")) == "\u041f\u0440\u0438"
    with pytest.raises(Unreadable):
        list(decoded([b"\x00" * 100], "koi8-r"))
