"""Files of Office: DOCX, XLSX and PPTX, told apart by the part that they name as their main one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import server.extraction.charsets  # noqa: F401 - the names in an archive may be of an old charset
from server.extraction.formats.docx import document_texts
from server.extraction.formats.package import Package
from server.extraction.formats.pptx import presentation_texts
from server.extraction.formats.xlsx import workbook_texts
from server.extraction.incoming import Incoming, Notes
from server.extraction.kinds import HEAD, READABLE, is_ole
from server.extraction.pieces import Code, Unreadable

_READERS: Final = {"word": document_texts, "xl": workbook_texts, "ppt": presentation_texts}
_TABLES: Final = "xl"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Return the text of a file; raises Unreadable."""
    whole = file.whole()
    if is_ole(whole.read(HEAD)):
        raise _why_ole(encrypted=_ENCRYPTED in whole.getvalue())
    package = Package(whole)
    main = package.main()
    folder = main.partition("/")[0]
    reader = _READERS.get(folder)
    if reader is None:
        raise Unreadable(Code.UNSUPPORTED_FILE, f"the file is an archive; {READABLE}")
    notes.rows = folder == _TABLES
    return reader(package, main)


def _why_ole(*, encrypted: bool) -> Unreadable:
    if encrypted:
        return Unreadable(Code.INVALID_FILE, "the file is encrypted; remove its password first")
    sentence = "the file is of an old version of Office, or a message of Outlook; save it in a newer format"
    return Unreadable(Code.UNSUPPORTED_FILE, sentence)
