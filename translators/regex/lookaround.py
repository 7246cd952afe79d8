"""Separation of look-around: look-ahead at a known offset, and look-behind at the end, become tests of their own."""

from __future__ import annotations

from dataclasses import dataclass

from translators.regex.codepoints import EVERYTHING, only
from translators.regex.tree import (
    Anchor,
    At,
    Chars,
    Lookahead,
    Lookbehind,
    Node,
    Repeat,
    Sequence,
    cannot_fail,
    fixed_width,
    may_end_in_newline,
)


@dataclass(frozen=True, slots=True)
class Demand:
    """A pattern that must match from the start of the subject, or must not."""

    node: Sequence
    negative: bool


def separate(sequence: Sequence) -> tuple[Sequence, tuple[Demand, ...]]:
    """Return the sequence without look-ahead at a fixed offset and look-behind at the end, and the demands for these.

    A subject matches if the returned sequence matches it and every demand is met. Other look-around stays.
    """
    items, endings = _without_endings(sequence.items)
    kept, demands = _separate(items, ())
    return Sequence(kept), (*demands, *endings)


def _without_endings(items: tuple[Node, ...]) -> tuple[tuple[Node, ...], list[Demand]]:
    r"""Return the items without look-behind before a final `$` or `\Z`, and its demand on the end of the subject.

    Only where the anchor holds at one place: not where what precedes a `$` may have consumed the final newline.
    """
    *front, end = items or (None,)
    demands: list[Demand] = []
    while front and isinstance(behind := front[-1], Lookbehind) and isinstance(end, At):
        rest, body = Sequence(tuple(front[:-1])), behind.body
        one_place = end.anchor is Anchor.END and not may_end_in_newline(rest) and not may_end_in_newline(body)
        if not fixed_width(body) or not (one_place or end.anchor is Anchor.FINISH):
            break
        before = Repeat(Sequence((Chars(EVERYTHING),)), 0, None, None)
        demands.append(Demand(Sequence((before, *body.items, end)), behind.negative))
        front.pop()
    return ((*front, end), demands) if demands and end is not None else (items, [])


def _separate(items: tuple[Node, ...], before: tuple[Node, ...]) -> tuple[tuple[Node, ...], list[Demand]]:
    """Separate the items; `before` is what precedes them, of fixed width and without look-ahead."""
    if not any(isinstance(item, Lookahead) for item in items):
        return items, []
    certain = _certain_after(items)
    kept: list[Node] = []
    demands: list[Demand] = []
    width: int | None = _width(before)
    for item, trailing in zip(items, certain, strict=True):
        # A positive one at the very end may consume instead.
        if not isinstance(item, Lookahead) or width is None or (trailing and not item.negative):
            kept.append(item)
            step = fixed_width(item)
            width = None if width is None or step is None else width + step
            continue
        preceding = (*before, *kept)
        lead = _lead(preceding, width)
        if item.negative:
            demands.append(Demand(Sequence((*lead, *item.body.items)), negative=True))
        else:
            inner, further = _separate(item.body.items, preceding)
            demands += [Demand(Sequence((*lead, *inner)), negative=False), *further]
    return tuple(kept), demands


def _certain_after(items: tuple[Node, ...]) -> list[bool]:
    """Return, for each item, whether what follows it can't fail."""
    certain = [True]
    for item in reversed(items[1:]):
        certain.append(certain[-1] and cannot_fail(item))
    return certain[::-1] if items else []


def _width(nodes: tuple[Node, ...]) -> int | None:
    return fixed_width(Sequence(nodes))


def _lead(preceding: tuple[Node, ...], width: int) -> tuple[Node, ...]:
    """Return `width` characters: the literal ones where the pattern names them, for readability, else any.

    The pattern itself tests the same characters, so that only their number matters here.
    """
    chars = [node for node in preceding if not isinstance(node, At | Lookahead)]
    if all(isinstance(node, Chars) and only(node.ranges) is not None for node in chars):
        return tuple(chars)
    return (Repeat(Sequence((Chars(EVERYTHING),)), width, width, None),)
