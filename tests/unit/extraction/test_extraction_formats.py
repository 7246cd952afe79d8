"""Texts of files of each kind, found by the confined process."""

from __future__ import annotations

import io
import logging

import pypdf
import pytest

from server.extraction.pieces import Chunking, Code
from tests.support.documents import (
    deflated,
    docx,
    package,
    pages,
    paragraph,
    pdf,
    relations,
    shown,
    stream,
)
from tests.support.extraction import extracted

PDF = pdf(pages(stream(shown(b"Hello PDF")), deflated(shown(b"second page")), stream(b"0 0 9 9 re f")))


def test_html_is_what_a_browser_shows() -> None:
    page = b"""<!DOCTYPE html><html><head><meta charset="iso-8859-2"><title>T\xb1tel</title><style>p { }</style>
    <script>document.write('<p>no</p>')</script></head><body><h1>Head&shy;ing</h1><p>Some&nbsp;<b>bo</b>ld   text &amp;
    more &#9731;<ul><li>one<li>two</ul><template>no</template><table><tr><td>a<td>b<tr><td>c</table>
    <pre> x\n  y</pre><!-- no --><![if x]><![what]><img alt="a picture" src="x.png"><br/>end</body></html>"""
    assert extracted(page, "page.html").text == (
        "T\u0105tel\n\nHead\xading\n\nSome bold text & more \u2603\n\none\ntwo\n\na\tb\nc\n\n x\n  y\n\na picture\nend"
    )


def test_html_is_known_by_its_beginning_and_its_name() -> None:
    for data, name, media_type in (
        (b" \n<!doctype HTML>a<p>b", "a.txt.bak", ""),
        (b'<?xml version="1.0"?><html>a<p>b', "a", ""),
        ("\ufeff<html>a<p>b".encode("utf-16-le"), "a", ""),
        (b"a<p>b", "a.HTM", ""),
        (b"a<p>b", "a", "text/html; charset=utf-8"),
    ):
        assert extracted(data, name, media_type=media_type).text == "a\n\nb"
    assert extracted(b"a<p>b", "a.md", media_type="application/pdf").text == "a<p>b"


def test_a_mail_has_its_headers_its_best_text_and_the_names_of_what_is_attached() -> None:
    mail = (
        "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nTo: a@example.org,\r\n b@example.org\r\nX-Other: no\r\n"
        "Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nSubject: Caf\u00e9\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=B\r\n\r\n"
        "--B\r\nContent-Type: multipart/alternative; boundary=C\r\n\r\n"
        "--C\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n"
        "--C\r\nContent-Type: text/html\r\n\r\n<p>not this</p>\r\n--C--\r\n"
        "--B\r\nContent-Type: multipart/alternative; boundary=D\r\n\r\n"
        "--D\r\nContent-Type: text/plain\r\n\r\n \r\n"
        "--D\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>b=C3=A9</p>\r\n"
        "--D--\r\n"
        "--B\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename*=utf-8''%C3%BC.csv\r\n\r\na,b\r\n"
        "--B\r\nContent-Type: image/png\r\n\r\nAAAA\r\n"
        "--B\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\ninner text\r\n--B--\r\n"
    )
    for charset in ("utf-8", "cp1252"):
        text = extracted(mail.encode(charset), "mail").text
        assert [line for line in text.split("\n") if line] == [
            "From: J\u00f6rg <j@example.org>",
            "To: a@example.org, b@example.org",
            "Date: Mon, 1 Jan 2024 10:00:00 +0000",
            "Subject: Caf\u00e9",
            "\u041f\u0440\u0438\u0432\u0435\u0442",
            "b\u00e9",
            "Attachment: \u00fc.csv",
            "Attachment: image/png",
            "Subject: inside",
            "inner text",
        ]


def mail_of(kind: str, body: bytes, more: bytes = b"") -> bytes:
    head = f"From: a@example.org\r\nDate: x\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n".encode()
    return head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + body + more


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; charset=iso-8859-2", b"\xb1"),
        ("text/plain; charset=utf-16le", "\u0105\r\n".encode("utf-16-le")),
        ("text/plain; charset=x-unknown", "\u0105".encode()),
        ("text/html; charset=windows-1250", b"<p>\xb9"),
        ("text/html", b"<meta charset=windows-1250><p>\xb9"),
        ("text/html; charset=windows-1250", b"<meta charset=koi8-r><p>\xb9"),
    ],
)
def test_a_part_of_a_mail_is_in_the_charset_that_it_names(kind: str, body: bytes) -> None:
    assert extracted(mail_of(kind, body), "a.eml").text.splitlines()[-1] == "\u0105"


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain; charset=x-unknown", "text/plain; charset=utf-8", "text/html"]
)
def test_a_part_of_a_mail_whose_charset_is_unknown_fails(kind: str) -> None:
    code, message = extracted(mail_of(kind, b"caf\xe9"), "a.eml").refused
    assert (code, message) == (
        Code.UNSUPPORTED_FILE,
        "a part of the e-mail is not UTF-8, and its charset is not said, not known or wrong",
    )


def test_the_part_of_a_mail_that_can_be_read_is_taken() -> None:
    body = (
        b"--B\r\nContent-Type: text/plain\r\n\r\ncaf\xe9\r\n"
        b"--B\r\nContent-Type: text/html\r\n\r\n<p>coffee\r\n--B--\r\n"
    )
    assert extracted(mail_of("multipart/alternative; boundary=B", body), "a.eml").text.endswith("coffee")


@pytest.mark.parametrize(
    ("page", "charset"),
    [
        (b"<html><meta charset=koi8-r>\xf0", None),
        (b"<html><meta http-equiv='Content-Type' content='text/html; charset=koi8-r'>\xf0", None),
        (b"<?xml version='1.0' encoding='koi8-r'?><html>\xf0", None),
        (b"<html><meta charset=cp1251>\xf0", "koi8-r"),
        ("<html><meta charset=koi8-r>\u041f".encode("utf-16"), "cp1251"),
        ("<html><meta charset=utf-16>\u041f".encode(), None),
    ],
)
def test_a_page_is_in_the_charset_that_its_mark_the_upload_or_itself_names(page: bytes, charset: str | None) -> None:
    assert extracted(page, "a.html", charset=charset).text == "\u041f"


def test_a_page_of_no_known_charset_fails() -> None:
    for page in (b"<html>caf\xe9", b"<html><meta charset=x-none>caf\xe9"):
        assert "not UTF-8" in extracted(page, "a.html").refused[1]


def test_messages_inside_messages_are_read_to_a_depth() -> None:
    mail = "Date: x\nFrom: y\n" + "".join(
        f"Subject: level {level}\nContent-Type: message/rfc822\n\n" for level in range(7)
    )
    text = extracted(mail.encode(), "a.eml").text
    assert "Subject: level 3" in text
    assert "Attachment: level 4" in text
    assert "level 5" not in text


def test_a_document_has_its_paragraphs_tables_and_notes() -> None:
    more = {
        "word/_rels/document.xml.rels": relations(
            ("r1", "footnotes", "footnotes.xml"), ("r2", "header", "/word/h.xml"), ("r3", "image", "media/i.png")
        ),
        "word/footnotes.xml": f"<w:footnotes xmlns:w='w'>{paragraph('a note')}</w:footnotes>",
        "word/h.xml": f"<w:hdr xmlns:w='w'>{paragraph('a header')}</w:hdr>",
    }
    body = (
        "<w:p><w:r><w:t>Hel</w:t></w:r><w:r><w:t xml:space='preserve'>lo </w:t><w:tab/><w:t>w\u00f6rld</w:t></w:r>"
        "</w:p>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc>"
        "</w:tr></w:tbl><w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText>"
        "</w:r><w:moveFrom><w:r><w:t>twice</w:t></w:r></w:moveFrom><w:r><w:t>end</w:t></w:r></w:p>"
    )
    assert extracted(docx(body, **more), "a.docx").text == "Hello \tw\u00f6rld\n\na\tb\n\nend\n\na note\n\na header"


def test_a_workbook_has_its_sheets_with_dates_and_shared_texts() -> None:
    book = package(
        "/xl/workbook.xml",
        {
            "xl/_rels/workbook.xml.rels": relations(
                ("r1", "worksheet", "worksheets/s1.xml"),
                ("r2", "sharedStrings", "strings.xml"),
                ("r3", "styles", "styles.xml"),
                ("r4", "worksheet", "worksheets/s2.xml"),
            ),
            "xl/workbook.xml": '<workbook xmlns:r="r"><sheets><sheet name="Second" sheetId="2" r:id="r4"/>'
            '<sheet name="First" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/strings.xml": "<sst><si><t>Name</t></si><si><r><t>ri</t></r><r><t>ch</t></r>"
            "<rPh><t>no</t></rPh></si></sst>",
            "xl/styles.xml": '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="dd/mm/yyyy"/><numFmt '
            'numFmtId="165" formatCode="0.00&quot; days&quot;"/></numFmts>'
            '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs>'
            '<xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="22"/><xf numFmtId="165"/></cellXfs></styleSheet>',
            "xl/worksheets/s1.xml": '<worksheet><sheetData><row><c t="s"><v>0</v></c><c t="s"><v>1</v></c>'
            '<c t="inlineStr"><is><t>in\nside</t></is></c><c t="s"><v>99</v></c></row><row/><row><c><v>3.5</v></c>'
            '<c s="1"><v>45292</v></c><c s="2"><v>45292.5</v></c><c s="3"><v>7</v></c><c t="b"><v>1</v></c>'
            '<c t="str"><f>A1&amp;"x"</f><v>made</v></c><c s="1"><v>1e300</v></c></row></sheetData></worksheet>',
            "xl/worksheets/s2.xml": "<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>",
        },
    )
    assert extracted(book, "a.xlsx").text == (
        "Second\n1\n\nFirst\nName\trich\tin side\n3.5\t2024-01-01\t2024-01-01 12:00:00\t7\tTRUE\tmade\t1e300"
    )


def test_a_presentation_has_its_slides_in_their_order_with_notes() -> None:
    def slide(text: str) -> str:
        return (
            f'<p:sld xmlns:p="p" xmlns:a="a"><a:p><a:r><a:t>{text}</a:t></a:r><a:fld><a:t>7</a:t></a:fld></a:p></p:sld>'
        )

    show = package(
        "ppt/presentation.xml",
        {
            "ppt/_rels/presentation.xml.rels": relations(
                ("r1", "slide", "slides/slide1.xml"), ("r2", "slide", "slides/slide2.xml"), ("r3", "theme", "t.xml")
            ),
            "ppt/presentation.xml": '<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId id="256" r:id="r2"/>'
            '<p:sldId id="257" r:id="r1"/><p:sldId id="258" r:id="r2"/></p:sldIdLst></p:presentation>',
            "ppt/slides/slide1.xml": slide("made first"),
            "ppt/slides/slide2.xml": slide("shown first"),
            "ppt/slides/_rels/slide2.xml.rels": relations(("r1", "notesSlide", "../notesSlides/n1.xml")),
            "ppt/notesSlides/n1.xml": slide("to be said"),
        },
    )
    assert extracted(show, "a.pptx").text == "shown first\n\nto be said\n\nmade first"


def test_a_pdf_has_the_text_of_its_pages_and_those_without_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ostiary.extraction"):
        assert extracted(PDF, "a.pdf").text == "Hello PDF\n\nsecond page"
    assert [record.getMessage() for record in caplog.records] == ["1 of 3 pages of a file have no text"]


def test_a_pdf_that_is_only_pictures_has_no_text() -> None:
    code, message = extracted(pdf(pages(stream(b"0 0 9 9 re f"))), "scan.pdf").refused
    assert (code, "no text was found" in message, "recognition" in message) == (Code.INVALID_FILE, True, True)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_an_encrypted_pdf_is_read_only_if_it_opens_without_a_password(algorithm: str) -> None:
    for password, opens in (("secret", False), ("", True)):
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(PDF))
        writer.encrypt(password, "owner", algorithm=algorithm)
        file = io.BytesIO()
        writer.write(file)
        found = extracted(file.getvalue(), "a.pdf")
        if opens:
            assert found.text == "Hello PDF\n\nsecond page"
        else:
            assert found.refused == (Code.INVALID_FILE, "the file is encrypted; remove its password first")


def test_rows_of_a_table_are_lines_and_stay_whole() -> None:
    table = b'name,size,said\n"a\nb","5"" pipe",x\n5" pipe,"q ""quoted""\n,more",y\n' + b"row,1,2\n" * 200
    found = extracted(table, "t.csv", chunking=Chunking(100, 0))
    assert found.pieces[0].text.split("\n")[:3] == [
        "name,size,said",
        '"a b","5"" pipe",x',
        '5" pipe,"q ""quoted"" ,more",y',
    ]
    assert {line for piece in found.pieces for line in piece.text.split("\n")[3:]} == {"row,1,2"}


def test_letters_of_json_are_written_out() -> None:
    lines = rb'{"a": "\u00e9\ud83d\ude00 \\u00e9 \u0022 \ud83d"}' + b"\n"
    found = extracted(lines * 30_000, "a.jsonl")
    shown_line = '{"a": "\u00e9\U0001f600 \\\\u00e9 \\u0022 \\ud83d"}'
    assert {line for piece in found.pieces for line in piece.text.split("\n")} == {shown_line}
