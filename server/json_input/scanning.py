"""Places of values in a text that is known to be JSON.

This module runs in the server and in its worker processes, so it imports the standard library alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from json import JSONDecoder
from typing import Final

_DECODER: Final = JSONDecoder()


def members_in(text: str, begin: int = 0) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield each member of the object that begins behind `begin`: its name, and both ends of the name and the value."""
    place = behind_blanks(text, text.index("{", begin) + 1)
    while text[place] != "}":
        name, name_end = _DECODER.raw_decode(text, place)
        start = behind_blanks(text, text.index(":", name_end) + 1)
        end = value_end(text, start)
        yield name, place, name_end, start, end
        place = behind_blanks(text, end)
        if text[place] == ",":
            place = behind_blanks(text, place + 1)


def value_end(text: str, start: int) -> int:
    """Return the place behind the value that starts there."""
    return _DECODER.raw_decode(text, start)[1]


def behind_blanks(text: str, place: int) -> int:
    """Return the place of the first character from there on that is no blank."""
    while text[place] in " \t\n\r":
        place += 1
    return place


def offsets(text: str, places: Collection[int]) -> dict[int, int]:
    """Return the offset in bytes of each place in `text`, which is in characters; -1 stands for none, and stays."""
    if text.isascii():
        return {place: place for place in places}
    found, done, offset = {-1: -1}, 0, 0
    for place in sorted(place for place in places if place >= 0):
        offset += len(text[done:place].encode())
        found[place] = offset
        done = place
    return found
