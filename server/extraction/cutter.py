"""The cut of a text into pieces that follow each other and share some of it.

A text comes in blocks and is held for little more than a piece. Where a piece may end, paragraphs are kept whole, else
sentences, lines, words, and characters as people see them. Every piece ends behind the one before it, so that the work
grows with the text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from server.extraction.graphemes import LOOK_BACK, cut_after, cut_before
from server.extraction.pieces import Chunking, Piece
from server.extraction.tokens import Counter, Measured, characters_of

_PARAGRAPHS: Final = ("\n\n",)
_SENTENCES: Final = (". ", "! ", "? ", ".\n", "!\n", "?\n", "\u3002", "\uff01", "\uff1f")
_LINES: Final = ("\n",)
_WORDS: Final = (" ", "\n", "\t", "\u3000")
_ENDS: Final = (_PARAGRAPHS, _SENTENCES, _LINES, _WORDS)
_ROW_ENDS: Final = (_LINES, _WORDS)

_BLANKS: Final = re.compile(r"\s+")
_VISIBLE: Final = re.compile("[^\\s\u00ad\u200b-\u200f\u2060\ufeff]")
_MOST_TRIES: Final = 6
_TOO_SHORT: Final = 0.7


class Cutter:
    """Cuts one text. With `rows`, each of its lines is kept whole where it fits into a piece."""

    def __init__(self, chunking: Chunking, counter: Counter, *, rows: bool = False) -> None:
        self._size = chunking.size
        self._overlap = chunking.overlap
        self._counter = counter
        self._most_bytes = chunking.size * counter.longest_token
        self.rows = rows
        self._text = ""
        self._before = 0
        self._start = 0
        self._cut = 0
        self._told = 0  # where the last piece ends, in the whole text

    def feed(self, block: str) -> Iterator[Piece]:
        """Take more of the text, and return the pieces that are whole."""
        self._text += block
        yield from self._cut_off(final=False)
        self._before += self._start
        self._text = self._text[self._start :]
        self._cut -= self._start
        self._start = 0

    def finish(self) -> Iterator[Piece]:
        """Yield the pieces of what is left."""
        yield from self._cut_off(final=True)

    def _cut_off(self, *, final: bool) -> Iterator[Piece]:
        needed = self._most_bytes + LOOK_BACK
        while True:
            blanks = _BLANKS.match(self._text, self._start)
            if blanks is not None:
                self._start = blanks.end()
                self._cut = max(self._cut, self._start)
            left = len(self._text) - self._start
            if left == 0 or (left < needed and not final):
                return
            following = self._next()
            if following is None:
                self._start = self._cut
                continue
            end, measured, text = following
            first = self._before + self._start
            if first + len(text) > self._told and _VISIBLE.search(text):
                self._told = first + len(text)
                yield Piece(text, measured.count, first, self._told)
            if end == len(self._text) and final:
                self._start = end
                return
            self._cut = end
            self._start = self._next_start(end, text, measured)

    def _next(self) -> tuple[int, Measured, str] | None:
        """Return where the piece ends that begins at the start, and the piece, which ends without blanks.

        None if what it shares with the one before leaves no room for more.
        """
        window = self._text[self._start : self._start + self._most_bytes]
        most = max(1, characters_of(window, self._most_bytes))
        reach = max(1, min(most, self._counter.guess(window, self._size)))
        tries = 0
        while True:
            end = self._end(reach)
            if end is None:
                return None
            text = self._text[self._start : end].rstrip()
            measured = self._counter.measured(text)
            tries += 1
            if measured.count > self._size and reach > 1:
                fitting = min(measured.prefix(self._size), reach - 1)
                reach = max(1, fitting if tries < _MOST_TRIES else fitting // 2)
            elif self._is_short(measured, end, reach, most) and tries < _MOST_TRIES // 2:
                reach = min(most, max(reach + 1, self._counter.guess(window, self._size)))
            else:
                return end, measured, text

    def _is_short(self, measured: Measured, end: int, reach: int, most: int) -> bool:
        """Return whether a guess was far too low."""
        return (
            measured.count < self._size * _TOO_SHORT
            and reach < most
            and end < len(self._text)
            and (end - self._start) * 4 >= reach * 3
        )

    def _end(self, reach: int) -> int | None:
        """Return the best end of a piece of at most `reach` characters; None if it, or a whole row, would fit only
        without what is shared.
        """
        highest = self._start + reach
        if highest <= self._cut and self._start < self._cut:
            return None
        if highest >= len(self._text):
            return len(self._text)
        lowest = max(self._start + max(1, reach * 3 // 4), self._cut + 1)
        if self.rows:
            row = self._text.rfind("\n", max(self._start, self._cut), highest) + 1
            if row > 0:
                return row
            if self._start < self._cut:
                return None
        for ends in _ROW_ENDS if self.rows else _ENDS:
            found = max(self._text.rfind(each, lowest - 1, highest) + len(each) for each in ends)
            if found >= lowest:
                return found
        return max(self._start + 1, cut_before(self._text, highest, lowest))

    def _next_start(self, end: int, text: str, measured: Measured) -> int:
        """Return where the next piece starts: in the last part of this one, at the beginning of something."""
        shared = measured.suffix(self._overlap) if self._overlap else 0
        last = self._start + len(text)
        first = max(last - shared, self._start + 1)
        if shared == 0 or first >= last:
            return end
        if self.rows:
            row = self._text.find("\n", first - 1, last)
            return row + 1 if row >= 0 else end
        highest = first + (last - first) // 2
        for ends in _ENDS:
            places = [
                place + len(each) for each in ends if (place := self._text.find(each, first - len(each), highest)) >= 0
            ]
            if places:
                return max(first, min(places))
        return min(end, cut_after(self._text, first, highest))
