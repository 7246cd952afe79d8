"""RTF: the text of a document with its notes, comments, headers and footers, where they stand in the file.

It is read from its beginning to its end, so it may have any size. Pictures, tables of styles and other parts that are
no text are passed over.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from server.extraction.charsets import charset_named
from server.extraction.formats.flow import PARAGRAPH, WORD, Flow
from server.extraction.formats.rtf_words import (
    APART,
    BLOCKS,
    FONT_SETS,
    GAPS,
    KINDS,
    PAGES,
    PASSED,
    READ,
    SHOWN,
    SIGNS,
    WINDOWS_1252,
)
from server.extraction.incoming import Incoming, Notes
from server.extraction.limits import DEEPEST_ELEMENT
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import clean

_TOKEN: Final = re.compile(
    rb"(?P<text>[^\\{}\r\n]+)|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?[0-9]{1,10})?[ ]?"
    rb"|(?P<brace>[{}])|\\(?P<sign>[^a-zA-Z])|[\r\n\\]",
    re.DOTALL,
)
_LONGEST_TOKEN: Final = 64
_UNICODE: Final = 0x10000
_HIGH: Final = range(0xD800, 0xDC00)
_LOW: Final = range(0xDC00, 0xE000)
_MOST_FONTS: Final = 10_000


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Yield the text of a file; raises Unreadable."""
    del notes
    document = _Document()
    for block in file.blocks():
        document.read(block)
        if text := clean(document.flow.taken()):
            yield text
        if document.ended:
            return
    document.read(b"", final=True)
    if text := clean(document.flow.taken()):
        yield text


@dataclass(frozen=True, slots=True)
class _Group:
    """The state inside of braces. After a character in Unicode come `spare` ones for readers that don't know it."""

    passed: bool = False
    hidden: bool = False
    fonts: bool = False
    charset: str | None = None
    spare: int = 1


class _Document:
    """Reads a document part by part, and collects its text in `flow`."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.ended = False
        self._rest = b""
        self._binary = 0
        self._outer = list[_Group]()
        self._group = _Group()
        self._optional = False
        self._in_table = False
        self._spare = 0
        self._high = 0
        self._charset = WINDOWS_1252
        self._fonts = dict[int, str]()
        self._font = 0
        self._decoder = codecs.getincrementaldecoder(WINDOWS_1252)("replace")
        self._decodes = WINDOWS_1252

    def read(self, block: bytes, *, final: bool = False) -> None:
        """Read the next bytes of the file; raises Unreadable."""
        data = self._rest + block
        place, end = 0, len(data) if final else len(data) - _LONGEST_TOKEN
        while place < end and not self.ended:
            if self._binary:
                taken = min(self._binary, len(data) - place)
                self._binary -= taken
                place += taken
                continue
            found = _TOKEN.match(data, place)
            if found is None:
                break
            place = found.end()
            self._take(found)
        self._rest = data[place:]

    def _take(self, found: re.Match[bytes]) -> None:
        kind = found.lastgroup
        if self._optional and kind not in ("word", "number"):
            self._optional = False
        if kind == "text":
            self._take_bytes(found[0])
        elif kind == "byte":
            self._take_bytes(bytes.fromhex(found["byte"].decode("ascii")))
        elif kind == "brace":
            self._take_brace(opens=found[0] == b"{")
        elif kind == "sign":
            self._take_sign(found["sign"])
        elif kind is not None:  # a word, with a number or without
            number = found["number"]
            self._take_word(found["word"].decode("ascii"), None if number is None else int(number))

    def _take_brace(self, *, opens: bool) -> None:
        self._end_of_text()
        self._spare = 0
        if opens:
            if len(self._outer) >= DEEPEST_ELEMENT:
                raise Unreadable(
                    Code.INVALID_FILE, f"the file has more than {DEEPEST_ELEMENT} groups inside each other"
                )
            self._outer.append(self._group)
            return
        if self._outer:
            self._group = self._outer.pop()
        self.ended = not self._outer

    def _take_sign(self, sign: bytes) -> None:
        if self._is_spare():
            return
        if sign == b"*":
            self._optional = True
        elif sign in (b"\r", b"\n"):
            self._take_word("par", None)
        elif sign in SIGNS:
            self._show(SIGNS[sign])

    def _take_word(self, word: str, number: int | None) -> None:
        optional, self._optional = self._optional, False
        if word == "bin":
            self._binary = max(0, number or 0)
        elif word == "u" and number is not None:
            self._take_unicode(number % _UNICODE)
        elif self._is_spare():
            return
        elif word == "fonttbl":
            self._group = replace(self._group, passed=True, fonts=True)
        elif word in PASSED or (optional and word not in READ):
            self._group = replace(self._group, passed=True)
        elif word in SHOWN:
            self._show(SHOWN[word])
        elif word in GAPS:
            self._widen(WORD if word == "par" and self._in_table else GAPS[word])
        elif word in APART or word in BLOCKS:
            self._widen(WORD if word in APART else PARAGRAPH)
        else:
            self._set(word, number)

    def _set(self, word: str, number: int | None) -> None:
        """Take a word that changes how what follows it is read."""
        if word in ("pard", "intbl"):
            self._in_table = word == "intbl"
        elif word in ("v", "deleted"):
            self._group = replace(self._group, hidden=number != 0)
        elif word == "plain":
            self._group = replace(self._group, hidden=False, charset=None)
        elif word == "uc" and number is not None:
            self._group = replace(self._group, spare=max(0, number))
        elif word in KINDS:
            self._charset = KINDS[word]
        elif word == "ansicpg" and number is not None:
            self._charset = _page(number) or self._charset
        elif word == "f" and number is not None:
            self._font = number
            self._group = replace(self._group, charset=self._fonts.get(number))
        elif self._group.fonts and number is not None and word in ("fcharset", "cpg"):
            charset = FONT_SETS.get(number) if word == "fcharset" else _page(number)
            if charset is not None and len(self._fonts) < _MOST_FONTS:
                self._fonts[self._font] = charset

    def _take_bytes(self, text: bytes) -> None:
        if self._spare:
            spare = min(self._spare, len(text))
            self._spare -= spare
            text = text[spare:]
        if not text or self._group.passed or self._group.hidden:
            return
        charset = self._group.charset or self._charset
        if charset != self._decodes:
            self._end_of_text()
            self._decoder = codecs.getincrementaldecoder(charset)("replace")
            self._decodes = charset
        if shown := self._decoder.decode(text):
            self.flow.show(shown)

    def _take_unicode(self, unit: int) -> None:
        self._spare = self._group.spare
        high, self._high = self._high, 0
        if unit in _HIGH:
            self._high = unit
        elif unit not in _LOW:
            self._show(chr(unit))
        elif high:
            self._show(chr(_UNICODE + ((high - _HIGH.start) << 10) + unit - _LOW.start))

    def _is_spare(self) -> bool:
        """Return whether a word or sign stands for a character that has been shown, and count it."""
        if self._spare == 0:
            return False
        self._spare -= 1
        return True

    def _show(self, text: str) -> None:
        self._end_of_text()
        if not self._group.passed and not self._group.hidden:
            self.flow.show(text)

    def _widen(self, gap: str) -> None:
        self._end_of_text()
        if not self._group.passed:
            self.flow.widen(gap)

    def _end_of_text(self) -> None:
        """Show a character of several bytes that has not come to its end."""
        if cut := self._decoder.decode(b"", final=True):
            self.flow.show(cut)


def _page(number: int) -> str | None:
    """Return the charset of a code page of Windows."""
    return PAGES.get(number) or charset_named(f"cp{number}")
