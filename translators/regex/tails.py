r"""Behaviour of parts at the end of a subject, where `$` may already hold.

`$` holds at the end and before a final newline. The part after a `$` therefore meets one of two remainders, `""` or
`"\n"`, and its match there can be computed in advance. It can otherwise only depend on what precedes: nothing, a
newline, an ASCII word character, or another character. That makes eight places; a set of places is an int with one bit
for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from typing import Final

from translators.regex.codepoints import holds
from translators.regex.tree import (
    Anchor,
    At,
    Atomic,
    Chars,
    Choice,
    Lookahead,
    Lookbehind,
    Node,
    Repeat,
    Sequence,
    fixed_width,
)

START, NEWLINE, WORD, OTHER = range(4)
"""The kinds of text before a place."""

Relation = tuple[int, ...]
"""For each place, the places at which a part can end that starts there."""


def at_end(before: int) -> int:
    """Return the place at the end of the subject."""
    return 2 * before


def at_newline(before: int) -> int:
    """Return the place before a final newline."""
    return 2 * before + 1


_PLACES: Final = range(8)
EVERYWHERE: Final = 0xFF
_STAY: Final[Relation] = tuple(1 << place for place in _PLACES)
_NEWLINE_CONSUMED: Final[Relation] = tuple(1 << at_end(NEWLINE) if place % 2 else 0 for place in _PLACES)
_NOWHERE: Final[Relation] = (0,) * len(_PLACES)


@cache
def empty_has_non_boundary() -> bool:
    r"""Return whether `\B` matches the empty subject: from Python 3.14 on it does, as it does in OPA's engine."""
    return re.match(r"(?a)\B", "") is not None


class Tails:
    """The relations of the nodes of one tree, each computed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Node, Relation]] = {}
        self._settled: dict[int, tuple[Node, bool]] = {}

    def settled(self, node: Node) -> bool:
        """Return whether the node holds no `$`, atomic part or look-ahead, so that it is the same whatever
        follows it.
        """
        if isinstance(node, Chars):
            return True
        known = self._settled.get(id(node))
        if known is None:
            known = self._settled[id(node)] = (node, self._look_for_endings(node))
        return known[1]

    def _look_for_endings(self, node: Node) -> bool:
        match node:
            case At(anchor):
                return anchor is not Anchor.END
            case Sequence(parts) | Choice(parts):
                return all(map(self.settled, parts))
            case Repeat(body):
                return self.settled(body)
            case _:
                return False

    def of(self, node: Node) -> Relation:
        """Return the node's relation."""
        known = self._known.get(id(node))
        if known is None:
            # The node is kept with its relation, since an id is unique among living objects only.
            known = self._known[id(node)] = (node, self._work_out(node))
        return known[1]

    def _work_out(self, node: Node) -> Relation:
        match node:
            case Chars(ranges):
                return _NEWLINE_CONSUMED if holds(ranges, 0x0A) else _NOWHERE
            case At(anchor):
                return _filtered(_holding(anchor))
            case Sequence(items):
                relation = _STAY
                for item in items:
                    relation = _then(relation, self.of(item))
                return relation
            case Choice(branches):
                return _either(*map(self.of, branches))
            case Repeat(body, least, most):
                return repeated(self.of(body), least, most)
            case Atomic(body):
                return self.of(body)
            case Lookahead(body, negative):
                matching = reaching(self.of(body), EVERYWHERE)
                return _filtered(EVERYWHERE & ~matching if negative else matching)
            case Lookbehind(body, negative):
                # Used for the empty subject only, where nothing precedes.
                return _STAY if negative is bool(fixed_width(body)) else _NOWHERE


def reaching(relation: Relation, goal: int) -> int:
    """Return the places from which the part can end at one of `goal`."""
    return sum(1 << place for place in _PLACES if relation[place] & goal)


def repeated(relation: Relation, least: int, most: int | None) -> Relation:
    """Return the relation of a repetition. One character is left at most, so that a third round adds no place."""
    extra = 2 if most is None else min(most - least, 2)
    rounds = [relation] * min(least, 2) + [_either(_STAY, relation)] * extra
    result = _STAY
    for step in rounds:
        result = _then(result, step)
    return result


def _then(first: Relation, second: Relation) -> Relation:
    if first is _STAY:
        return second
    return tuple(_union(second[place] for place in _PLACES if ends >> place & 1) for ends in first)


def _either(*relations: Relation) -> Relation:
    return tuple(_union(ends) for ends in zip(*relations, strict=True))


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)


def _set(places: Iterable[int]) -> int:
    return _union(1 << place for place in places)


def _filtered(holding: int) -> Relation:
    return tuple(1 << place & holding for place in _PLACES)


def _holding(anchor: Anchor) -> int:
    """Return the places at which the anchor holds."""
    match anchor:
        case Anchor.END | Anchor.LINE_END:
            return EVERYWHERE
        case Anchor.FINISH:
            return _set(at_end(before) for before in (START, NEWLINE, WORD, OTHER))
        case Anchor.START:
            return _set((at_end(START), at_newline(START)))
        case Anchor.LINE_START:
            return _set((at_end(START), at_newline(START), at_end(NEWLINE), at_newline(NEWLINE)))
        # Those of Unicode are used for the empty subject only, where no character precedes.
        case Anchor.BOUNDARY | Anchor.UNICODE_BOUNDARY:
            return _set((at_end(WORD), at_newline(WORD)))
        case Anchor.NOT_BOUNDARY | Anchor.NOT_UNICODE_BOUNDARY:
            exception = 0 if empty_has_non_boundary() else _set((at_end(START),))
            return EVERYWHERE & ~_holding(Anchor.BOUNDARY) & ~exception
