"""A test whether a pattern can match any subject with a given beginning, such as those of one type of resource."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Final

from translators.regex.codepoints import holds
from translators.regex.tree import Anchor, At, Atomic, Chars, Choice, Lookahead, Lookbehind, Node, Repeat, Sequence

_STARTS: Final = (Anchor.START, Anchor.LINE_START)
_ENDS: Final = (Anchor.END, Anchor.LINE_END, Anchor.FINISH)


def may_match(tree: Sequence, beginning: str) -> bool:
    """Return whether a subject that starts with `beginning`, which holds no newline, may match.

    False is certain. True is not: look-behind, word boundaries and atomic groups are ignored.
    """
    return bool(_after(tree, beginning, frozenset([0])))


def _after(node: Node, text: str, places: frozenset[int]) -> frozenset[int]:
    """Return the places where a match of `node` from one of `places` may end; the length of `text` means any later
    place.
    """
    match node:
        case Chars(ranges):
            end = len(text)
            moved = (min(place + 1, end) for place in places if place == end or holds(ranges, ord(text[place])))
            return frozenset(moved) if ranges else frozenset()
        case Sequence(items):
            return reduce(lambda found, item: _after(item, text, found) if found else found, items, places)
        case Choice(branches):
            return frozenset().union(*(_after(branch, text, places) for branch in branches))
        case Repeat(body, least, most):
            return _repeated(body, least, most, text, places)
        case Atomic(body):
            return _after(body, text, places)
        case Lookahead(body, negative):
            return frozenset(place for place in places if _allows(body, negative, text, place))
        case At(anchor) if anchor in _STARTS:
            return places & {0, len(text)} if anchor is Anchor.LINE_START else places & {0}
        case At(anchor) if anchor in _ENDS:
            return places & {len(text)}
        case At() | Lookbehind():
            return places


def _repeated(body: Sequence, least: int, most: int | None, text: str, places: frozenset[int]) -> frozenset[int]:
    # After so many rounds every place is at the end, or a further round matches the empty text.
    rounds = len(text) + 1
    for _ in range(min(least, rounds)):
        before, places = places, _after(body, text, places)
        if places == before:
            break
    found = places
    for _ in range(rounds if most is None else min(most - least, rounds)):
        further = _after(body, text, places) - found
        if not further:
            break
        found, places = found | further, further
    return found


def _allows(body: Sequence, negative: bool, text: str, place: int) -> bool:
    """Return whether a look-ahead at `place` may let a match go on."""
    if negative:
        return not _surely(body.items, text, place)
    return bool(_after(body, text, frozenset([place])))


def _surely(items: Iterable[Node], text: str, place: int) -> bool:
    """Return whether items match at `place` whatever follows `text`: known for characters and choices of them alone."""
    reached = {place}
    for item in items:
        if isinstance(item, Chars):
            reached = {at + 1 for at in reached if at < len(text) and holds(item.ranges, ord(text[at]))}
        elif isinstance(item, Choice) and all(
            isinstance(one, Chars) for branch in item.branches for one in branch.items
        ):
            reached = {
                at + len(branch.items) for at in reached for branch in item.branches if _surely(branch.items, text, at)
            }
        elif not (isinstance(item, Repeat) and item.least == 0):
            return False
    return bool(reached)
