"""The kind of a file, from how it begins; among texts, from its name.

A content type that a caller claims only chooses between ways to read a text. This module imports the standard library
and modules of this package alone, since the child process needs it too.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from server.extraction.pieces import Code, Unreadable

HEAD: Final = 4096
"""Bytes from which the kind of a file is told."""

READABLE: Final = (
    "text, Markdown, HTML, CSV, JSON, PDF, RTF, DOCX, XLSX, PPTX, ODT, ODS, ODP, EPUB and e-mail (.eml) can be read"
)
"""The end of a sentence about a file that can't be."""


class Kind(StrEnum):
    """Ways to read a file."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    HTML = "html"
    MAIL = "mail"
    PDF = "pdf"
    OFFICE = "office"
    RTF = "rtf"


TEXTS: Final = frozenset((Kind.TEXT, Kind.TABLE, Kind.JSON, Kind.HTML))
"""Kinds of which the whole file is in one charset."""

_FOREIGN: Final = (
    (b"%!PS", "a PostScript file"),
    (b"\x89PNG\r\n\x1a\n", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"II*\x00", "an image"),
    (b"MM\x00*", "an image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"(\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x7fELF", "a program"),
    (b"OggS", "a recording"),
    (b"ID3", "a recording"),
    (b"fLaC", "a recording"),
    (b"SQLite format 3\x00", "a database"),
    (b"PAR1", "a Parquet file"),
)
"""How files of other kinds begin, and what they are."""

_CALLED: Final = {
    ".csv": Kind.TABLE,
    ".tsv": Kind.TABLE,
    ".tab": Kind.TABLE,
    ".json": Kind.JSON,
    ".jsonl": Kind.JSON,
    ".ndjson": Kind.JSON,
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
    ".eml": Kind.MAIL,
    ".txt": Kind.TEXT,
    ".md": Kind.TEXT,
    ".markdown": Kind.TEXT,
}
_CLAIMED: Final = {
    "text/csv": Kind.TABLE,
    "text/tab-separated-values": Kind.TABLE,
    "application/json": Kind.JSON,
    "application/x-ndjson": Kind.JSON,
    "application/jsonl": Kind.JSON,
    "text/html": Kind.HTML,
    "application/xhtml+xml": Kind.HTML,
    "message/rfc822": Kind.MAIL,
}
_MARKS: Final = ((b"\xef\xbb\xbf", 1), (b"\xff\xfe", 2), (b"\xfe\xff", 2))
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF_WITHIN: Final = 1024
_HTML: Final = re.compile(rb"\s{0,512}(?:<\?xml[^<>]{0,256}>\s{0,64})?<(?:!doctype\s{1,16}html|html[\s>])", re.I)
_XML_DECLARATION: Final = re.compile(
    rb"""<\?xml\s[^<>?]{0,128}?\bencoding\s{0,8}=\s{0,8}["']([A-Za-z][\w.:-]{0,39})["']"""
)
_WIDE_XML: Final = {"utf-16-le": b"<\x00?\x00x\x00", "utf-16-be": b"\x00<\x00?\x00x"}
_MAIL: Final = re.compile(
    rb"(?:From |(?:Return-Path|Received|Delivered-To|MIME-Version|From|To|Date|Subject|Message-ID|X-[\w-]{1,64}):)",
    re.I,
)
_FROM: Final = re.compile(rb"^From:", re.I | re.M)
_DATE: Final = re.compile(rb"^Date:", re.I | re.M)


def kind_of(head: bytes, filename: str, media_type: str) -> Kind:
    """Return the kind of a file that begins with `head`, its first HEAD bytes; raises Unreadable for other kinds.

    Old files of Office and encrypted new ones begin in the same way, and are of the kind OFFICE.
    """
    if b"%PDF-" in head[:_PDF_WITHIN]:
        return Kind.PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", _OLE)):
        return Kind.OFFICE
    if head.startswith(b"{\\rtf"):
        return Kind.RTF
    for start, what in _FOREIGN:
        if head.startswith(start):
            raise Unreadable(Code.UNSUPPORTED_FILE, f"the file is {what}; {READABLE}")
    return _kind_of_text(head, filename, media_type)


def charset_of_xml(head: bytes) -> str | None:
    """Return the name of the charset that the declaration of XML at the beginning of a file has, if it has one."""
    for charset, zeros in _WIDE_XML.items():
        if head.startswith(zeros):
            return charset
    found = _XML_DECLARATION.match(head)
    named = None if found is None else found[1].decode("ascii")
    # The declaration could not be read if it were in one of these.
    return None if named is None or named.lower().startswith(("utf-16", "utf-32", "ucs")) else named


def is_ole(head: bytes) -> bool:
    """Return whether a file begins like old files of Office, and like encrypted new ones."""
    return head.startswith(_OLE)


def _kind_of_text(head: bytes, filename: str, media_type: str) -> Kind:
    dot = filename.rfind(".")
    called = _CALLED.get(filename[dot:].lower()) if dot >= 0 else None
    claimed = _CLAIMED.get(media_type.partition(";")[0].strip().lower())
    kind = called or claimed
    if kind is not None and kind is not Kind.TEXT:
        return kind
    for mark, width in _MARKS:
        if head.startswith(mark):
            head = head[len(mark) :].replace(b"\x00", b"") if width > 1 else head[len(mark) :]
    if _HTML.match(head):
        return Kind.HTML
    if kind is None and _MAIL.match(head) and _FROM.search(head) and _DATE.search(head):
        return Kind.MAIL
    return Kind.TEXT
