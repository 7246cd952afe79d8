"""Literal text that every match of a pattern contains."""

from __future__ import annotations

from typing import Final

from translators.regex.codepoints import only
from translators.regex.tree import Anchor, At, Chars, Choice, Node, Repeat, Sequence

_LONGEST: Final = 1024
"""Longest prefix that repetitions are written out for."""


def literal_prefix(node: Node) -> str:
    """Return the longest text found that every match starts with."""
    return _prefix(node)[0]


def required_text(sequence: Sequence) -> str:
    """Return the longest text found that every match contains: single characters one behind the other."""
    runs = [""]
    for item in sequence.items:
        point = only(item.ranges) if isinstance(item, Chars) else None
        if point is None:
            runs.append("")
        else:
            runs[-1] += chr(point)
    return max(runs, key=len)


def exact_text(sequence: Sequence) -> str | None:
    """Return the only subject that matches, if the sequence is literal text up to the end of the subject; else None."""
    *front, last = sequence.items or (None,)
    if not isinstance(last, At) or last.anchor is not Anchor.FINISH:
        return None
    while front and isinstance(front[0], At) and front[0].anchor is Anchor.START:
        del front[0]
    points = [only(node.ranges) if isinstance(node, Chars) else None for node in front]
    return None if None in points else "".join(chr(point) for point in points if point is not None)


def _prefix(node: Node) -> tuple[str, bool]:
    """Return text that every match of the node starts with, and whether it is all that a match consumes."""
    match node:
        case Chars(ranges):
            point = only(ranges)
            return ("", False) if point is None else (chr(point), True)
        case At(anchor):
            return "", anchor is not Anchor.END
        case Sequence(items):
            return _sequence(items)
        case Choice(branches):
            found = [_prefix(branch) for branch in branches]
            texts = [text for text, _ in found]
            return _common(texts), len(set(texts)) == 1 and all(whole for _, whole in found)
        case Repeat(body, least, most):
            text, whole = _prefix(body) if least else ("", most == 0)
            if not whole or len(text) * least > _LONGEST:
                return text, False
            return text * least, least == most
        case _:
            return "", False


def _common(texts: list[str]) -> str:
    """Return the longest common beginning of all texts."""
    # In sorted order, the first and the last text differ at least as early as any two others.
    first, last = min(texts), max(texts)
    size = next((place for place, char in enumerate(first) if char != last[place]), len(first))
    return first[:size]


def _sequence(items: tuple[Node, ...]) -> tuple[str, bool]:
    parts: list[str] = []
    for item in items:
        text, whole = _prefix(item)
        parts.append(text)
        if not whole:
            return "".join(parts), False
    return "".join(parts), True
