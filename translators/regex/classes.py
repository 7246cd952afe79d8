r"""Character sets of Python's classes, literals and `\d \w \s`.

Python itself is asked where its Unicode data matter, so that the answer is right for the running interpreter. Nothing
is asked at import; results are kept for the life of the process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Final

from translators.regex.codepoints import Ranges, complement, difference, union

Item = tuple[str, Any]
"""One member of a class as Python's parser names it: LITERAL, RANGE, CATEGORY or NEGATE, with its argument."""

_LETTERS: Final = ((0x41, 0x5A), (0x61, 0x7A))
_ASCII: Final[Mapping[str, Ranges]] = {
    "DIGIT": ((0x30, 0x39),),
    "SPACE": ((0x09, 0x0D), (0x20, 0x20)),
    "WORD": union(((0x30, 0x39), (0x5F, 0x5F), *_LETTERS)),
}
_SHORTHANDS: Final = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_LAST_CASED: Final = 0x20000
"""Letters with case live in the first two planes."""


@cache
def unicode_categories() -> Mapping[str, Ranges]:
    r"""Return DIGIT, SPACE and WORD: the code points that `\d`, `\s` and `\w` match, surrogates left out."""
    every = "".join(map(chr, chain(range(0xD800), range(0xE000, 0x110000))))
    return {
        name: union((ord(run[0][0]), ord(run[0][-1])) for run in re.finditer(f"{shorthand}+", every))
        for name, shorthand in _SHORTHANDS.items()
    }


@cache
def _cased() -> tuple[str, Ranges]:
    """Return the characters that another one may equal when case is ignored, as text and as a set."""
    turns: tuple[Callable[[str], str], ...] = (str.lower, str.upper, str.title, str.casefold)
    found: set[str] = set()
    for char in map(chr, chain(range(0xD800), range(0xE000, _LAST_CASED))):
        found.update(other for turn in turns for turned in [turn(char)] if turned != char for other in (char, turned))
    single = {char for char in found if len(char) == 1}
    return "".join(sorted(single)), union((ord(char), ord(char)) for char in single)


@lru_cache(maxsize=4096)
def members(items: tuple[Item, ...], *, ignore_case: bool, ascii_only: bool) -> Ranges:
    """Return the code points that the class of these items matches under these flags."""
    plain = _plain(items, ascii_only)
    if not ignore_case:
        return plain
    # Ignoring case changes a class for cased characters only, so that Python is asked about those few.
    text, cased = _cased()
    # The flags are an argument, not inline: CPython's search takes `(?a:\W)` for `\W`, though its match doesn't.
    flags = re.IGNORECASE | (re.ASCII if ascii_only else re.UNICODE)
    hits = re.findall(f"[{''.join(map(_spelled, items))}]", text, flags)
    return union((*difference(plain, cased), *((ord(hit), ord(hit)) for hit in hits)))


def _plain(items: tuple[Item, ...], ascii_only: bool) -> Ranges:
    pairs: list[tuple[int, int]] = []
    for name, argument in items:
        if name == "LITERAL":
            pairs.append((argument, argument))
        elif name == "RANGE":
            pairs.append(argument)
        elif name == "CATEGORY":
            pairs.extend(_category(argument, ascii_only))
    ranges = union(pairs)
    return complement(ranges) if items[0][0] == "NEGATE" else ranges


def _category(category: str, ascii_only: bool) -> Ranges:
    name = category.removeprefix("CATEGORY_")
    known = _ASCII if ascii_only else unicode_categories()
    return complement(known[name.removeprefix("NOT_")]) if name.startswith("NOT_") else known[name]


def _spelled(item: Item) -> str:
    """Return an item of a class as Python source."""
    name, argument = item
    if name == "NEGATE":
        return "^"
    if name == "LITERAL":
        return f"\\U{argument:08x}"
    if name == "RANGE":
        return f"\\U{argument[0]:08x}-\\U{argument[1]:08x}"
    category = argument.removeprefix("CATEGORY_")
    shorthand = _SHORTHANDS[category.removeprefix("NOT_")]
    return shorthand.upper() if category.startswith("NOT_") else shorthand
