"""Places where a text may be cut without taking a character apart that people see as one."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category

LOOK_BACK: Final = 64
"""Characters that are looked at for such a place; a longer sequence is cut where it happens to be."""

_JOINER: Final = "\u200d"
_MODIFIERS: Final = ("\U0001f3fb", "\U0001f3ff")
_TAGS: Final = ("\U000e0020", "\U000e007f")
_FLAGS: Final = ("\U0001f1e6", "\U0001f1ff")
_HANGUL: Final = (("\u1160", "\u11ff"), ("\ud7b0", "\ud7fb"))
_MARKS: Final = frozenset(("Mn", "Me", "Mc"))
_PLAIN: Final = re.compile("[\t\n -~]")


def cut_before(text: str, place: int, lowest: int) -> int:
    """Return the last place from `lowest` to `place` between two characters that belong apart; `place` if none is near.

    0 and the length of the text are such places.
    """
    end = max(lowest, place - LOOK_BACK)
    for each in range(place, end - 1, -1):
        if _parts(text, each):
            return each
    return place


def cut_after(text: str, place: int, highest: int) -> int:
    """Return the first place from `place` to `highest` between two characters that belong apart; `place` if none is
    near.
    """
    for each in range(place, min(highest, place + LOOK_BACK) + 1):
        if _parts(text, each):
            return each
    return place


def _parts(text: str, place: int) -> bool:
    """Return whether a text may be cut at a place."""
    if place <= 0 or place >= len(text):
        return True
    after = text[place]
    if _PLAIN.match(after):
        return after != "\n" or text[place - 1] != "\r"
    before = text[place - 1]
    if _JOINER in (before, after) or category(after) in _MARKS:
        return False
    if _within(after, _MODIFIERS) or _within(after, _TAGS):
        return False
    if _within(after, _FLAGS):
        return not _is_second_of_flag(text, place)
    return not any(_within(after, syllables) for syllables in _HANGUL)


def _within(character: str, ends: tuple[str, str]) -> bool:
    return ends[0] <= character <= ends[1]


def _is_second_of_flag(text: str, place: int) -> bool:
    """Return whether an odd number of the letters of flags stand right before a place."""
    first = place
    while first > max(0, place - LOOK_BACK) and _within(text[first - 1], _FLAGS):
        first -= 1
    return (place - first) % 2 == 1
