"""JSON and lines of JSON: their text as it is, in which escaped letters are written out.

It is not parsed, so its depth and whether it is valid don't matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from server.extraction.incoming import Incoming, Notes
from server.extraction.texts import decoded

_ESCAPED: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|.)", re.DOTALL
)
_LONGEST_ESCAPE: Final = 12
_LEAST_LETTER: Final = 0xA0
_SURROGATES: Final = range(0xD800, 0xE000)


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Yield the text of a file; raises Unreadable."""
    notes.rows = True
    rest = ""
    for block in decoded(file.blocks(), file.charset):
        text = rest + block
        cut = _whole_until(text)
        rest = text[cut:]
        if cut:
            yield _written_out(text[:cut])
    if rest:
        yield _written_out(rest)


def _whole_until(text: str) -> int:
    """Return a place near the end of a text, which begins outside of escapes, that is in none either."""
    cut = max(0, len(text) - _LONGEST_ESCAPE)
    near = len(text[: max(0, cut - 2 * _LONGEST_ESCAPE)].rstrip("\\"))
    for escape in _ESCAPED.finditer(text, near):
        if escape.end() > cut:
            return min(cut, escape.start())
    return cut


def _written_out(text: str) -> str:
    return _ESCAPED.sub(_letter, text) if "\\u" in text else text


def _letter(found: re.Match[str]) -> str:
    high, low, code = found.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    number = int(code, 16) if code is not None else 0
    return chr(number) if number >= _LEAST_LETTER and number not in _SURROGATES else found[0]
