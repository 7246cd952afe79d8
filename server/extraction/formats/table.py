"""Tables as text: CSV, and values between tabs.

A row becomes one line: line feeds inside quoted values become blanks, so that rows can be kept whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.extraction.incoming import Incoming, Notes
from server.extraction.texts import decoded

_BEFORE_VALUES: Final = frozenset(',;\t|\n"')


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Yield the text of a file, whose rows are its lines; raises Unreadable."""
    notes.rows = True
    quoted = False
    last = "\n"
    for block in decoded(file.blocks(), file.charset):
        if not quoted and '"' not in block:
            last = block[-1]
            yield block
            continue
        shown, quoted = _in_rows(block, quoted, last)
        last = block[-1]
        yield shown


def _in_rows(block: str, quoted: bool, last: str) -> tuple[str, bool]:
    """Return a block without line feeds inside quotes, and whether its end is inside; `last` is the character before.

    A quote begins a quoted value only where a value begins, so one that stands for inches changes nothing. Two quotes
    inside a value end it and begin it again.
    """
    parts = block.split('"')
    for place, part in enumerate(parts):
        if place > 0:
            if quoted:
                quoted = False
                last = '"'
            elif last in _BEFORE_VALUES:
                quoted = True
        if quoted and "\n" in part:
            parts[place] = part.replace("\n", " ")
        if part:
            last = part[-1]
    return '"'.join(parts), quoted
