"""OpenDocument: texts (ODT) with their headers and footers behind them, sheets (ODS) and presentations (ODP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.extraction.formats.flow import CELL, LINE, PARAGRAPH, WORD, Flow
from server.extraction.formats.package import ENCRYPTED, Package
from server.extraction.formats.xml import attributes_of, read_xml
from server.extraction.pieces import Code, Unreadable

SHEETS: Final = "spreadsheet"
"""The kind of a document whose rows are lines."""

_TEXT: Final = "text"
_CONTENT: Final = "content.xml"
_MANIFEST: Final = "META-INF/manifest.xml"
_STYLES: Final = "styles.xml"
_PARAGRAPHS: Final = frozenset(("p", "h"))
_PASSED: Final = frozenset(("tracked-changes", "forms", "ruby-text", "creator-initials", "sender-initials"))
_ABOUT_COMMENTS: Final = frozenset(("creator", "date"))
_COMMENT: Final = "annotation"
_APART: Final = frozenset((_COMMENT, "note", "note-citation", "title", "desc"))
_SHOWN: Final = {"s": " ", "tab": "\t", "line-break": "\n"}


def opendocument_texts(package: Package, kind: str) -> Iterator[str]:
    """Yield the text of a document of a kind, such as `text`; raises Unreadable."""
    if package.has(_MANIFEST) and _is_encrypted(package):
        raise Unreadable(Code.INVALID_FILE, ENCRYPTED)
    yield from _part_texts(package, _CONTENT, sheets=kind == SHEETS)
    if kind.startswith(_TEXT) and package.has(_STYLES):
        yield "\n\n"
        yield from _part_texts(package, _STYLES, sheets=False)


def _is_encrypted(package: Package) -> bool:
    found = False

    def start(name: str, attributes: list[str]) -> None:
        nonlocal found
        del attributes
        found = found or name in ("encryption-data", "encrypted-key")

    for _ in read_xml(package.blocks(_MANIFEST), start):
        pass
    return found


def _part_texts(package: Package, name: str, *, sheets: bool) -> Iterator[str]:
    story = _TextCollector(sheets=sheets)
    for _ in read_xml(package.blocks(name), story.start, story.end, story.text):
        if text := story.flow.taken():
            yield text


class _TextCollector:
    """Collects the text of one part, all of which stands in paragraphs; with `sheets`, tables show their names."""

    def __init__(self, *, sheets: bool) -> None:
        self.flow = Flow()
        self._sheets = sheets
        self._paragraphs = 0
        self._passed = 0
        self._comments = 0
        self._cells = 0

    def start(self, name: str, attributes: list[str]) -> None:
        """Take the beginning of an element."""
        if self._is_passed(name):
            self._passed += 1
        elif self._passed:
            return
        elif name in _PARAGRAPHS:
            self._paragraphs += 1
        elif name in _APART:
            self._comments += name == _COMMENT
            self.flow.widen(WORD)
        elif name == "table-cell":
            self._cells += 1
        elif name == "table" and self._sheets and (title := attributes_of(attributes).get("name")):
            self.flow.show(title)
            self.flow.widen(LINE)
        elif self._paragraphs and name in _SHOWN:
            self.flow.show(_SHOWN[name])

    def end(self, name: str) -> None:
        """Take the end of an element."""
        if self._is_passed(name):
            self._passed -= 1
        elif self._passed:
            return
        elif name in _PARAGRAPHS:
            self._paragraphs -= 1
            self.flow.widen(WORD if self._cells or self._paragraphs else PARAGRAPH)
        elif name in _APART:
            self._comments -= name == _COMMENT
            self.flow.widen(WORD)
        elif name == "table-cell":
            self._cells -= 1
            self.flow.widen(CELL)
        elif name == "table-row":
            self.flow.widen(LINE)
        elif name in ("table", "page"):
            self.flow.widen(PARAGRAPH)

    def text(self, text: str) -> None:
        """Take text, which counts only in paragraphs, and in which blanks in a row are one."""
        if not self._paragraphs or self._passed:
            return
        words = text.split()
        if text[0].isspace():
            self.flow.widen(WORD)
        if words:
            self.flow.show(" ".join(words))
            if text[-1].isspace():
                self.flow.widen(WORD)

    def _is_passed(self, name: str) -> bool:
        """Return whether an element holds no text of the document: what was deleted, fields, the author of a comment.

        It is asked at the beginning and at the end of an element, between which comments come and go in pairs.
        """
        return name in _PASSED or (name in _ABOUT_COMMENTS and self._comments > 0)
