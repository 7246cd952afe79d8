"""DOCX: the text of a document, with its notes and comments, its headers and footers behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.extraction.formats.flow import CELL, LINE, PARAGRAPH, WORD, Flow
from server.extraction.formats.package import Package
from server.extraction.formats.xml import read_xml

_MORE: Final = ("/footnotes", "/endnotes", "/comments", "/header", "/footer")
_PASSED: Final = frozenset(("Fallback", "moveFrom"))  # the same text again, and text that was moved away
_SHOWN: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def document_texts(package: Package, main: str) -> Iterator[str]:
    """Yield the text of a document; raises Unreadable."""
    yield from _part_texts(package, main)
    targets = {target: kind for kind, target in package.relations(main).values()}
    for more in _MORE:
        for target, kind in targets.items():
            if kind.endswith(more) and package.has(target):
                yield "\n\n"
                yield from _part_texts(package, target)


def _part_texts(package: Package, name: str) -> Iterator[str]:
    story = _TextCollector()
    for _ in read_xml(package.blocks(name), story.start, story.end, story.text):
        if text := story.flow.taken():
            yield text


class _TextCollector:
    """Collects the text of one part."""

    def __init__(self) -> None:
        self.flow = Flow()
        self._in_text = False
        self._passed = 0
        self._cells = 0

    def start(self, name: str, attributes: list[str]) -> None:
        """Take the beginning of an element."""
        del attributes
        if name in _PASSED:
            self._passed += 1
        elif self._passed:
            return
        elif name == "t":
            self._in_text = True
        elif name == "tc":
            self._cells += 1
        elif name in _SHOWN:
            self.flow.show(_SHOWN[name])

    def end(self, name: str) -> None:
        """Take the end of an element."""
        if name in _PASSED:
            self._passed -= 1
        elif self._passed:
            return
        elif name == "t":
            self._in_text = False
        elif name == "p":
            self.flow.widen(WORD if self._cells else PARAGRAPH)
        elif name == "tc":
            self._cells -= 1
            self.flow.widen(CELL)
        elif name == "tbl":
            self.flow.widen(PARAGRAPH)
        elif name == "tr":
            self.flow.widen(LINE)

    def text(self, text: str) -> None:
        """Take text, which counts only inside of `t`."""
        if self._in_text and not self._passed:
            self.flow.show(text)
