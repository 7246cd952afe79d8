r"""Characters and classes as text for OPA's engine.

Printable ASCII only and no back-quote, so that the text can stand in a raw string of Rego and an auditor sees all of
it. Python's `\w` and `\d` follow the Unicode version of the interpreter. Spelled out they are 11 KB and 1 KB of ranges,
unreadable in a rule, so that a class that holds one of them whole names Unicode categories instead: `\d` is
`\p{Nd}` and `\w` is `[\p{L}\p{N}_]`. The two spellings agree on every code point that both Unicode versions assign;
they can differ only on a character that one side doesn't know yet. Every other class is spelled out, code point for
code point, also one that takes letters out of `\w`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from translators.regex.classes import unicode_categories
from translators.regex.codepoints import EVERYTHING, NOTHING, Ranges, complement, difference, only, union

_NAMED: Final = {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}
_PLAIN: Final = frozenset(" _-/:,;=@~!#%&'\"<>")
"""Punctuation that means itself outside a class."""

_PLAIN_IN_CLASS: Final = frozenset(" _/:,;=@!#%'\"<>.+*?(){}|$")
"""Punctuation that means itself within a class."""

_READABLE: Final = 400
"""Most characters of a class that is spelled out although categories could shorten it."""


def char(point: int) -> str:
    """Return a literal character, spelled for use outside a class."""
    return _char(point, _PLAIN)


@lru_cache(maxsize=4096)
def char_class(ranges: Ranges) -> str:
    """Return the spelling of one character out of the set: a literal, a class or a dot."""
    point = only(ranges)
    if point is not None:
        return char(point)
    if ranges == EVERYTHING:
        return "(?s:.)"
    if ranges == NOTHING:
        return r"[^\x00-\x{10ffff}]"
    spelled = _shortest(f"[{_ranges(ranges)}]", f"[^{_ranges(complement(ranges))}]")
    if len(spelled) <= _READABLE:
        return spelled
    return _shortest(spelled, *_by_category(ranges))


def _by_category(ranges: Ranges) -> Iterator[str]:
    """Yield spellings of the class that use categories."""
    for opening, wanted in (("[", ranges), ("[^", complement(ranges))):
        for names, atom in _atoms():
            if not difference(atom, wanted):
                rest = _ranges(difference(wanted, atom))
                yield f"{opening}{names}{rest}]" if rest or opening == "[^" or names.count("\\p") > 1 else names


def _atoms() -> Iterator[tuple[str, Ranges]]:
    """Yield the names of Unicode categories, with their sets in Python."""
    known = unicode_categories()
    alphanumeric = difference(known["WORD"], ((0x5F, 0x5F),))
    yield r"\p{Nd}", known["DIGIT"]
    yield r"\p{L}\p{N}", alphanumeric
    yield r"\p{L}\p{Nl}\p{No}", difference(alphanumeric, known["DIGIT"])


def _shortest(*spellings: str) -> str:
    return min(spellings, key=len)


def _ranges(ranges: Ranges) -> str:
    return "".join(map(_range, union(ranges)))


def _range(pair: tuple[int, int]) -> str:
    first, last = (_char(point, _PLAIN_IN_CLASS) for point in pair)
    if pair[0] == pair[1]:
        return first
    return first + last if pair[1] == pair[0] + 1 else f"{first}-{last}"


def _char(point: int, plain: frozenset[str]) -> str:
    text = chr(point)
    if text.isascii() and (text.isalnum() or text in plain):
        return text
    if point in _NAMED:
        return _NAMED[point]
    # OPA's engine accepts a backslash before any ASCII punctuation; a back-quote would end the raw string.
    return f"\\{text}" if text.isascii() and text.isprintable() and text != "`" else f"\\x{{{point:x}}}"
