"""Places of values deep inside a body, in the bytes that spell it.

This module runs in the server and in its worker processes, so it imports the standard library and
modules that import no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from server.json_input.scanning import behind_blanks, members_in, offsets, value_end
from server.json_input.strict import Document

Path: TypeAlias = tuple[str | int, ...]
"""The names and numbers that lead to a value: `("messages", 0, "content")`."""


def spans_of(document: Document, paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return the place of the value at each of `paths`: its first byte, and the one behind its last.

    Each path leads to a value of the document, and to one of its own. The bytes are read once for each level, however
    many paths there are.
    """
    text = document.raw.decode()
    found = {path: ends for path, *ends in _found(text, text.index("{"), paths, 0)}
    in_bytes = offsets(text, {spot for ends in found.values() for spot in ends})
    return [(in_bytes[first], in_bytes[last]) for first, last in (found[path] for path in paths)]


def _found(text: str, begin: int, paths: Sequence[Path], depth: int) -> Iterator[tuple[Path, int, int]]:
    """Yield the paths with both ends of their values, which are in the one that begins there."""
    wanted: dict[str | int, list[Path]] = {}
    for path in paths:
        wanted.setdefault(path[depth], []).append(path)
    for key, first, last in _values(text, begin):
        inner = wanted.pop(key, [])
        for path in inner:
            if len(path) == depth + 1:
                yield path, first, last
        deeper = [path for path in inner if len(path) > depth + 1]
        if deeper:
            yield from _found(text, first, deeper, depth + 1)
        if not wanted:
            return


def _values(text: str, begin: int) -> Iterator[tuple[str | int, int, int]]:
    """Yield the values in the object or the list that begins there: name or number, and both ends."""
    if text[begin] == "{":
        for name, _, _, first, last in members_in(text, begin):
            yield name, first, last
        return
    place, number = behind_blanks(text, begin + 1), 0
    while text[place] != "]":
        last = value_end(text, place)
        yield number, place, last
        number += 1
        place = behind_blanks(text, last)
        if text[place] == ",":
            place = behind_blanks(text, place + 1)
