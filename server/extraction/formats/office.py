"""Files that are archives: DOCX, XLSX, PPTX, OpenDocument and EPUB.

The latter two say what they are, and the others are told apart by the part that they name as their main one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import server.extraction.charsets  # noqa: F401 - the names in an archive may be of an old charset
from server.extraction.formats.docx import document_texts
from server.extraction.formats.epub import book_texts
from server.extraction.formats.opendocument import SHEETS, opendocument_texts
from server.extraction.formats.package import ENCRYPTED, Package
from server.extraction.formats.pptx import presentation_texts
from server.extraction.formats.xlsx import workbook_texts
from server.extraction.incoming import Incoming, Notes
from server.extraction.kinds import HEAD, READABLE, is_ole
from server.extraction.pieces import Code, Unreadable

_READERS: Final = {"word": document_texts, "xl": workbook_texts, "ppt": presentation_texts}
_TABLES: Final = "xl"
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument."
_BOOK: Final = "application/epub+zip"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Return the text of a file; raises Unreadable."""
    whole = file.whole()
    if is_ole(whole.read(HEAD)):
        raise _why_ole(encrypted=_ENCRYPTED in whole.getvalue())
    package = Package(whole)
    said = package.media_type()
    if said == _BOOK:
        return book_texts(package)
    if said.startswith(_OPEN_DOCUMENT):
        kind = said.removeprefix(_OPEN_DOCUMENT).removesuffix("-template")
        notes.rows = kind == SHEETS
        return opendocument_texts(package, kind)
    main = package.main()
    folder = main.partition("/")[0]
    reader = _READERS.get(folder)
    if reader is None:
        raise Unreadable(Code.UNSUPPORTED_FILE, f"the file is an archive; {READABLE}")
    notes.rows = folder == _TABLES
    return reader(package, main)


def _why_ole(*, encrypted: bool) -> Unreadable:
    if encrypted:
        return Unreadable(Code.INVALID_FILE, ENCRYPTED)
    sentence = "the file is of an old version of Office, or a message of Outlook; save it in a newer format"
    return Unreadable(Code.UNSUPPORTED_FILE, sentence)
