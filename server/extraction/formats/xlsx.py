"""XLSX: the sheets of a workbook, each with its name above its rows; a row is a line with tabs between its cells.

Formulas have the values that the workbook keeps of them. Numbers that are shown as dates are written as dates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from server.extraction.formats.package import Package
from server.extraction.formats.xml import attributes_of, read_xml

_SHEET: Final = "/worksheet"
_STRINGS: Final = "/sharedStrings"
_STYLES: Final = "/styles"
_DATES: Final = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_LITERAL: Final = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.')
_DATE_SIGNS: Final = re.compile("[ymdhs]", re.I)
_FIRST_DAY: Final = datetime(1899, 12, 30)
_FIRST_DAY_1904: Final = datetime(1904, 1, 1)
_BOOLEANS: Final = {"1": "TRUE", "0": "FALSE"}


def workbook_texts(package: Package, main: str) -> Iterator[str]:
    """Yield the text of a workbook; raises Unreadable."""
    relations = package.relations(main)
    book = _Book()
    for _ in read_xml(package.blocks(main), book.start):
        pass
    for kind, part in relations.values():
        if kind.endswith(_STRINGS) and package.has(part):
            book.strings = _shared_strings(package, part)
        elif kind.endswith(_STYLES) and package.has(part):
            book.dates = _date_styles(package, part)
    shown = set[str]()
    for name, reference in book.sheets:
        kind, part = relations.get(reference, ("", ""))
        if kind.endswith(_SHEET) and part not in shown:
            shown.add(part)
            yield f"{name}\n"
            yield from _sheet_texts(package, part, book)
            yield "\n"


class _Book:
    """The names and references of the sheets, and what their cells refer to."""

    def __init__(self) -> None:
        self.sheets = list[tuple[str, str]]()
        self.strings = list[str]()
        self.dates = list[bool]()
        self.first_day = _FIRST_DAY

    def start(self, name: str, attributes: list[str]) -> None:
        """Take the beginning of an element of the workbook's main part."""
        if name == "sheet":
            given = attributes_of(attributes)
            self.sheets.append((given.get("name", ""), given.get("id", "")))
        elif name == "workbookPr" and attributes_of(attributes).get("date1904") in ("1", "true"):
            self.first_day = _FIRST_DAY_1904


def _shared_strings(package: Package, part: str) -> list[str]:
    strings = list[str]()
    current = list[str]()
    inside = False
    phonetic = False

    def start(name: str, attributes: list[str]) -> None:
        nonlocal inside, phonetic
        del attributes
        inside = name == "t" and not phonetic
        phonetic = phonetic or name == "rPh"

    def end(name: str) -> None:
        nonlocal inside, phonetic
        inside = False
        if name == "rPh":
            phonetic = False
        elif name == "si":
            strings.append("".join(current))
            current.clear()

    def text(text: str) -> None:
        if inside:
            current.append(text)

    for _ in read_xml(package.blocks(part), start, end, text):
        pass
    return strings


def _date_styles(package: Package, part: str) -> list[bool]:
    """Return whether each style of cells shows a number as a date."""
    own = dict[str, bool]()
    styles = list[bool]()
    inside = False

    def start(name: str, attributes: list[str]) -> None:
        nonlocal inside
        if name == "numFmt":
            given = attributes_of(attributes)
            shown = _LITERAL.sub("", given.get("formatCode", ""))
            own[given.get("numFmtId", "")] = _DATE_SIGNS.search(shown) is not None
        elif name == "cellXfs":
            inside = True
        elif name == "xf" and inside:
            number = attributes_of(attributes).get("numFmtId", "0")
            styles.append(own.get(number, number.isdecimal() and len(number) < 4 and int(number) in _DATES))

    def end(name: str) -> None:
        nonlocal inside
        inside = inside and name != "cellXfs"

    for _ in read_xml(package.blocks(part), start, end):
        pass
    return styles


def _sheet_texts(package: Package, part: str, book: _Book) -> Iterator[str]:
    sheet = _Sheet(book)
    for _ in read_xml(package.blocks(part), sheet.start, sheet.end, sheet.text):
        yield from sheet.rows
        sheet.rows.clear()


class _Sheet:
    """Collects the rows of one sheet."""

    def __init__(self, book: _Book) -> None:
        self.rows = list[str]()
        self._book = book
        self._cells = list[str]()
        self._kind = ""
        self._style = ""
        self._value = list[str]()
        self._inside = False

    def start(self, name: str, attributes: list[str]) -> None:
        """Take the beginning of an element."""
        if name == "c":
            given = attributes_of(attributes)
            self._kind, self._style = given.get("t", "n"), given.get("s", "")
        self._inside = name in ("v", "t")

    def end(self, name: str) -> None:
        """Take the end of an element."""
        self._inside = False
        if name == "c":
            value = self._shown("".join(self._value))
            self._value.clear()
            if value:
                self._cells.append(" ".join(value.split("\n")))
        elif name == "row" and self._cells:
            self.rows.append("\t".join(self._cells) + "\n")
            self._cells.clear()

    def text(self, text: str) -> None:
        """Take text, which counts only inside of a value."""
        if self._inside:
            self._value.append(text)

    def _shown(self, value: str) -> str:
        if self._kind == "s":
            place = _number(value)
            return self._book.strings[place] if place is not None and place < len(self._book.strings) else ""
        if self._kind == "b":
            return _BOOLEANS.get(value, value)
        if self._kind == "n" and self._book.dates:
            style = _number(self._style)
            if style is not None and style < len(self._book.dates) and self._book.dates[style]:
                return _date(value, self._book.first_day)
        return value


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _date(value: str, first_day: datetime) -> str:
    """Return a number of days as a date, a time, or both; as it is if it is none."""
    try:
        days = float(value)
        shown = first_day + timedelta(seconds=round(days * 86400))
    except (ValueError, OverflowError):
        return value
    if 0 <= days < 1:
        return f"{shown:%H:%M:%S}"
    return f"{shown:%Y-%m-%d}" if days.is_integer() else f"{shown:%Y-%m-%d %H:%M:%S}"
