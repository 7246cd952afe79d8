"""PPTX: the text of each slide, in the order of the presentation, with its notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.extraction.formats.flow import LINE, Flow
from server.extraction.formats.package import Package
from server.extraction.formats.xml import read_xml

_SLIDE: Final = "/slide"
_NOTES: Final = "/notesSlide"


def presentation_texts(package: Package, main: str) -> Iterator[str]:
    """Yield the text of a presentation; raises Unreadable."""
    relations = package.relations(main)
    shown = set[str]()
    for reference in _slide_ids(package, main):
        kind, slide = relations.get(reference, ("", ""))
        if not kind.endswith(_SLIDE) or slide in shown:
            continue
        shown.add(slide)
        yield from _part_texts(package, slide)
        for kind_of_part, part in package.relations(slide).values():
            if kind_of_part.endswith(_NOTES) and package.has(part) and part not in shown:
                shown.add(part)
                yield from _part_texts(package, part)


def _slide_ids(package: Package, main: str) -> list[str]:
    """Return the references to the slides in their order."""
    found = list[str]()

    def start(name: str, attributes: list[str]) -> None:
        if name == "sldId":
            given = dict(zip(attributes[::2], attributes[1::2], strict=True))
            found.extend(value for key, value in given.items() if key.endswith(":id"))

    for _ in read_xml(package.blocks(main), start):
        pass
    return found


def _part_texts(package: Package, name: str) -> Iterator[str]:
    slide = _Slide()
    for _ in read_xml(package.blocks(name), slide.start, slide.end, slide.text):
        if text := slide.flow.taken():
            yield text
    yield "\n\n"


class _Slide:
    """Collects the text of one slide, or of its notes."""

    def __init__(self) -> None:
        self.flow = Flow()
        self._in_text = False
        self._fields = 0

    def start(self, name: str, attributes: list[str]) -> None:
        """Take the beginning of an element; fields hold numbers of slides and dates."""
        del attributes
        if name == "fld":
            self._fields += 1
        elif name == "t":
            self._in_text = not self._fields
        elif name == "br":
            self.flow.widen(LINE)

    def end(self, name: str) -> None:
        """Take the end of an element."""
        if name == "fld":
            self._fields -= 1
        elif name == "t":
            self._in_text = False
        elif name == "p":
            self.flow.widen(LINE)

    def text(self, text: str) -> None:
        """Take text, which counts only inside of `t`."""
        if self._in_text:
            self.flow.show(text)
