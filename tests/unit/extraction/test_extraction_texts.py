"""Characters of texts, and files that are none."""

from __future__ import annotations

import codecs
import encodings
import sys
from time import process_time

import pytest

from server.extraction.charsets import charset_named
from server.extraction.kinds import HEAD, Kind, charset_of_xml, kind_of
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import WrongCharset, decoded
from tests.support.extraction import extracted

TEXT = "na\u00efve \u2013 \u20ac\u4e2d\U0001f600\n"


def text_of(data: bytes, size: int = 7, named: str | None = None) -> str:
    return "".join(decoded((data[start : start + size] for start in range(0, len(data), size)), named))


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


@pytest.mark.parametrize(
    ("charset", "told", "text"),
    [
        ("cp1252", "ISO-8859-1", "caf\u00e9 \u20ac \u201cx\u201d"),
        ("cp1251", "windows-1251", "\u041f\u0440\u0438\u0432\u0435\u0442"),
        ("koi8-r", "KOI8-R", "\u041f\u0440\u0438\u0432\u0435\u0442"),
        ("iso8859-2", "latin2", "\u017e\u010f\u0165"),
        ("cp932", "Shift_JIS", "\u65e5\u672c\u8a9e\u2460"),
        ("euc_jp", "x-euc-jp", "\u65e5\u672c\u8a9e"),
        ("iso2022_jp", "iso-2022-jp", "\u65e5\u672c\u8a9e"),
        ("iso2022_kr", "ISO-2022-KR", "\ud55c\uad6d\uc5b4"),
        ("gb18030", "gb2312", "\u4e2d\u6587\U0001f600"),
        ("big5", "big5", "\u4e2d\u6587"),
        ("euc_kr", "ks_c_5601-1987", "\ud55c\uad6d\uc5b4"),
        ("utf-16-le", "utf-16", "a \u4e2d"),
        ("utf-16-be", "UTF-16", "ab \u4e2d"),
        ("utf-16-be", "utf-16be", "ab \u4e2d"),
        ("utf-32-le", "utf-32", "a\u4e2d"),
    ],
)
def test_a_charset_that_an_upload_names_is_read(charset: str, told: str, text: str) -> None:
    data = f"{text}\r\n".encode(charset) * 3
    assert text_of(data, 4096, charset_named(told)) == f"{text}\n" * 3
    for name in ("a.txt", "a.csv", "a.json"):
        assert extracted(data, name, charset=told).text.splitlines()[0] == text


def test_a_mark_goes_before_what_an_upload_names() -> None:
    assert extracted(codecs.BOM_UTF8 + TEXT.encode(), charset="koi8-r").text == TEXT.strip()


@pytest.mark.parametrize("name", ["utf-7", "idna", "zlib", "rot13", "x-unknown", "mbcs", "unicode_escape", "..", "os"])
def test_an_unknown_charset_is_refused(name: str) -> None:
    assert charset_named(name) is None
    code, message = extracted(b"words", charset=name).refused
    assert code is Code.UNSUPPORTED_FILE
    assert f"`{name}`" in message


def test_names_of_charsets_leave_nothing_behind() -> None:
    modules = set(sys.modules)
    for name in (*(f"made-up-{number}" for number in range(1000)), "punycode", "uu"):
        assert charset_named(name) is None
    assert set(sys.modules) == modules
    assert "made_up_7" not in getattr(encodings, "_cache")  # noqa: B009 - Python keeps what it has looked for in vain


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_without_a_name_what_is_not_utf_8_is_refused_and_the_sentence_says_where(size: int) -> None:
    for data, place in ((b"caf\xe9 and more", 3), (b"\xc3\xa9" * 50 + b"caf\xe9!", 103), (b"cut \xc3", 4)):
        with pytest.raises(WrongCharset, match=f"its byte {place} is none"):
            text_of(data, size)
    assert extracted(b"caf\xe9", "a.csv").refused[0] is Code.UNSUPPORTED_FILE


def test_a_wrong_name_is_noticed_where_it_can_be() -> None:
    with pytest.raises(WrongCharset, match="`cp932`, and is not"):
        text_of("Gr\u00fc\u00dfe aus M\u00fcnchen, ".encode("cp1252") * 40, 4096, "cp932")
    assert text_of(b"\xff one wrong", 5, "cp932").endswith(" one wrong")
    with pytest.raises(WrongCharset):
        text_of(b"caf\xe9", 5, "utf-8")


XML = '<?xml version="1.0" encoding="{}"?>\n<a>\u017e\u010f</a>'


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (XML.format("ISO-8859-2").encode("iso8859-2"), "a.xml"),
        (XML.format("windows-1250").replace('"', "'").encode("cp1250"), "a"),
        (XML.format("UTF-8").encode(), "a.xml"),
        (XML.format("utf-16").encode(), "a.xml"),
        (XML.format("utf-16").encode("utf-16-le"), "a.xml"),
        (XML.format("utf-16").encode("utf-16-be"), "a.xml"),
        (XML.format("utf-16").encode("utf-16"), "a.xml"),
    ],
)
def test_the_declaration_of_xml_names_a_charset(data: bytes, name: str) -> None:
    assert extracted(data, name).text.endswith("<a>\u017e\u010f</a>")


def test_a_declaration_is_one_only_at_the_beginning_and_may_be_hostile() -> None:
    assert charset_of_xml(b' <?xml encoding="koi8-r"?>') is None
    assert charset_of_xml(b'<?xml version="1.0"?><a encoding="koi8-r"/>') is None
    assert charset_of_xml(b'<?xml encoding="' + b"k" * 41 + b'"?>') is None
    for head in (b"<?xml " * 700, b"<?xml " + b" " * 4000, b"<?xml encoding" * 300, b"<?xml encoding=" + b" " * 4000):
        started = process_time()
        assert charset_of_xml(head[:HEAD]) is None
        assert process_time() - started < 0.05
    code, message = extracted(XML.format("x-none").encode(), "a.xml").refused
    assert (code, "`x-none`" in message) == (Code.UNSUPPORTED_FILE, True)


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
