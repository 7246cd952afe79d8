"""OpenDocument, EPUB and RTF: what their text is, and hostile ones of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import process_time
from types import ModuleType

import pytest

from server.extraction.formats import office, rtf
from server.extraction.incoming import Incoming, Notes
from server.extraction.kinds import Kind, kind_of
from server.extraction.pieces import Chunking, Code, Unreadable
from tests.support.documents import archive, epub, opendocument
from tests.support.extraction import extracted

DAMAGED = "the file is damaged"
ENCRYPTED = "the file is encrypted; remove its password first"


def read(data: bytes, reader: ModuleType) -> str:
    """Return the text of a file, found in this process."""
    descriptor = os.memfd_create("file")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        found: Iterator[str] = reader.texts(Incoming(descriptor, "a"), Notes())
        return "".join(found)
    finally:
        os.close(descriptor)


def refusal(data: bytes, reader: ModuleType) -> str:
    """Return the sentence that a file is refused with, which takes little time."""
    started = process_time()
    with pytest.raises(Unreadable) as refused:
        read(data, reader)
    assert process_time() - started < 5
    assert refused.value.code is Code.INVALID_FILE
    return refused.value.message


def test_a_document_has_its_paragraphs_notes_comments_and_headers() -> None:
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes>"
        '<text:h text:outline-level="1">The <text:span>doors</text:span></text:h>'
        '<text:p>red<text:s text:c="1000000000"/>and<text:tab/>blue<text:line-break/>  next\n  line'
        "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>a note</text:p></text:note-body>"
        "</text:note> on<office:annotation><dc:creator>Ann</dc:creator><dc:date>2026</dc:date>"
        "<text:p>a comment</text:p></office:annotation> of <text:date>May</text:date></text:p>"
        "<table:table table:name='T'><table:table-row><table:table-cell><text:p>a</text:p><text:p>b</text:p>"
        "</table:table-cell><table:table-cell><text:p>c</text:p></table:table-cell></table:table-row></table:table>"
        "<text:p>end</text:p>"
    )
    styles = "<style:header><text:p>above</text:p></style:header>"
    text = extracted(opendocument("text", body, styles), "a.bin").text
    assert text == "The doors\n\nred and\tblue\n next line 1 a note on a comment of May\n\na b\tc\n\nend\n\nabove"


def test_sheets_have_their_names_and_their_rows_stay_whole() -> None:
    row = (
        "<table:table-row><table:table-cell><text:p>{}</text:p></table:table-cell><table:table-cell/></table:table-row>"
    )
    rows = "".join(row.format(f"row {number} " + "x" * 60) for number in range(40))
    data = opendocument("spreadsheet", f'<table:table table:name="Doors">{rows}</table:table>')
    found = extracted(data, "a.ods", chunking=Chunking(100, 0))
    assert found.pieces[0].text.startswith("Doors\nrow 0 xx")
    assert all(piece.text.startswith("row") for piece in found.pieces[1:])
    assert extracted(opendocument("presentation", "<draw:page><text:p>slide</text:p></draw:page>"), "a").text == "slide"


def test_a_book_is_read_in_its_order_and_each_page_once() -> None:
    pages = {
        "b c.xhtml": "<?xml version='1.0'?><!DOCTYPE html><html><body><p>second &amp; last</p></body></html>",
        "a.xhtml": b"<?xml version='1.0' encoding='ISO-8859-2'?><html><body><h1>First</h1>\xb1</body></html>",
        "cover.svg": "<svg><text>not this</text></svg>",
    }
    data = epub(pages, order=("cover.svg", "a.xhtml", "b c.xhtml", "a.xhtml", "missing"))
    assert extracted(data, "a.txt").text == "First\n\n\u0105\n\nsecond & last"


RTF = rb"""{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fnil\fcharset0 Arial;}{\f1\fcharset204 A;}{\f2\fcharset128 M;}}
{\colortbl;\red0;}{\*\generator no;}{\info{\title no}}{\header above\par}\pard\f0 Caf\'e9 and \b bold\b0  text\par
\f1\'cf\'f0\'e8\f0  \u8364?\u-10179\'3f\u-8704? x {\uc2\u9731ab}y{\uc0\u9731}z\line next\tab t \{b\}\~n\par
\f2\'93\'fa\'96\'7b\f0 \v hidden\v0  shown{\footnote a note}\par
\trowd\pard\intbl a\cell b\par c\cell\row\pard{\field{\*\fldinst HYPERLINK "x"}{\fldrslt link}}{\pict\bin5 }}{{\}\par
{\*\unknown no}{\upr{ansi}{\*\ud{uni}}} {\*\shpinst{\sp{\sn no}{\sv no}}{\shptxt boxed}} end}
after the end }{ \par"""


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_rtf_has_its_text_in_the_charsets_of_its_fonts(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_of(RTF, "a.doc", "application/msword") is Kind.RTF
    monkeypatch.setattr("server.extraction.incoming.BLOCK", cut)
    assert read(RTF, rtf) == (
        "above\n\nCaf\u00e9 and bold text\n\n\u041f\u0440\u0438 \u20ac\U0001f600 x \u2603y\u2603z\n"
        "next\tt {b}\u00a0n\n\n"
        "\u65e5\u672c shown a note\n\na\tb c\nlink\n\nansi \n\nboxed end"
    )


def test_rtf_is_read_behind_the_walls() -> None:
    found = extracted(RTF, "a.rtf")
    assert found.text.startswith("above\n\nCaf\u00e9")
    assert found.refusal is None


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"{\\rtf1 " + b"{}" * 100_000, 0),
        (b"{\\rtf1 " + b"\\b" * 100_000, 0),
        (b"{\\rtf1 " + b"\\u9731?" * 50_000, 50_000),
        (b"{\\rtf1 \\bin9999999999 words", 0),
        (b"{\\rtf1 \\bin-5 words", 5),
        (b"{\\rtf1 \\uc999999999 \\u65 words", 1),
        (b"{\\rtf1 \\uc-1 \\u65 b", 2),
        (b"{\\rtf1 \\u55357?\\u55357?\\u56832?", 1),
        (b"{\\rtf1 " + b"a" * 1_000_000, 1_000_000),
        (b"{\\rtf1 " + b"\\" * 200_001, 100_000),
        (b"{\\rtf1 \\b" + b"1" * 200_000, 199_990),
        (b"{\\rtf1 \\" + b"b" * 200_000, 199_968),
        (b"{\\rtf1{\\fonttbl" + b"".join(b"{\\f%d\\fcharset204 x;}" % each for each in range(20_000)), 0),
        (b"{\\rtf1\\ansicpg99999 a\\f77 b\\'", 2),
        (b"{\\rtf1}" + b"words" * 100_000, 0),
    ],
)
def test_hostile_rtf_takes_time_by_its_size_alone(data: bytes, length: int) -> None:
    started = process_time()
    assert len(read(data, rtf)) == length
    assert process_time() - started < 5


def test_groups_are_inside_each_other_to_a_depth() -> None:
    assert "1000 groups" in refusal(b"{\\rtf1 " + b"{" * 1000, rtf)
    assert read(b"{\\rtf1 " + b"{" * 999 + b"a", rtf) == "a"


DEEP = "<text:p>" * 1001
ODT = opendocument("text", "<text:p>words</text:p>")
MANIFEST = (
    '<manifest:manifest xmlns:manifest="m"><manifest:file-entry><manifest:encryption-data/></manifest:file-entry>'
)
LOCKED = (
    '<encryption xmlns:enc="e"><enc:EncryptedData><enc:CipherData><enc:CipherReference URI="OPS/a.xhtml"/>'
    "</enc:CipherData></enc:EncryptedData></encryption>"
)
PAGE = {"a.xhtml": "<html>words</html>"}
HOSTILE = {
    "an encrypted document": (
        opendocument("text", "x", more={"META-INF/manifest.xml": MANIFEST + "</manifest:manifest>"}),
        ENCRYPTED,
    ),
    "entities": (
        opendocument("text", "", more={"content.xml": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}),
        "declares a document type or entities",
    ),
    "depth": (opendocument("text", DEEP), "elements inside each other"),
    "a document without content": (archive({"mimetype": "application/vnd.oasis.opendocument.text"}), DAMAGED),
    "a bomb": (opendocument("text", "<text:p>" + " " * 30_000_000 + "</text:p>"), "far larger when it is unpacked"),
    "a media type that is a bomb": (
        archive([("mimetype", b"application/epub+zip" + b" " * 20_000_000)]),
        DAMAGED,
    ),
    "a book with locked pages": (epub(PAGE, more={"META-INF/encryption.xml": LOCKED}), ENCRYPTED),
    "a book without pages": (epub({}, order=("nothing",)), ""),
    "a book whose page is gone": (epub({"a.xhtml": None}), DAMAGED),
    "a book that is no book": (archive({"mimetype": "application/epub+zip"}), DAMAGED),
    "a book whose package is elsewhere": (
        archive(
            {
                "mimetype": "application/epub+zip",
                "META-INF/container.xml": '<container><rootfile full-path="../../etc/passwd"/></container>',
            }
        ),
        DAMAGED,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_ends_with_a_sentence(name: str) -> None:
    data, words = HOSTILE[name]
    if words:
        assert words in refusal(data, office)
    else:
        assert read(data, office).strip() == ""


def test_locked_fonts_lock_no_book() -> None:
    locked = LOCKED.replace("OPS/a.xhtml", "OPS/font.otf")
    assert read(epub(PAGE, more={"META-INF/encryption.xml": locked}), office).strip() == "words"
    assert read(ODT, office).strip() == "words"
