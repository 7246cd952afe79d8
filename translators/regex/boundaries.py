r"""Removal of Unicode's `\b` and `\B`, of which OPA's engine has only the ASCII form.

A boundary depends on two characters only: the last one before it and the first one after it. The part before it is
split into matches that end in a word character and the others, the part after it into matches that begin with one and
the others; the combinations under which the boundary holds replace it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice
from typing import Final

from translators.regex.classes import unicode_categories
from translators.regex.codepoints import NOTHING, Ranges, complement, difference
from translators.regex.refusal import Untranslatable
from translators.regex.tree import Anchor, At, Atomic, Chars, Choice, Lookahead, Lookbehind, Node, Repeat, Sequence
from translators.regex.writer import MOST_STATES

_HOLDS_BETWEEN_EQUALS: Final = {Anchor.UNICODE_BOUNDARY: False, Anchor.NOT_UNICODE_BOUNDARY: True}
_CONSTRUCTS: Final = {Anchor.UNICODE_BOUNDARY: r"\b", Anchor.NOT_UNICODE_BOUNDARY: r"\B"}
_MOST: Final = 32
"""Most boundaries in a pattern."""

_MOST_ROUNDS: Final = 4
"""Most rounds of a repetition with a boundary that are written out."""


def without_boundaries(sequence: Sequence) -> Sequence:
    r"""Return a sequence for the same subjects without Unicode's `\b` and `\B`.

    Refuses a boundary where look-around or atomic parts are left, one in a long repetition, and too large a pattern.
    """
    found = list(islice(_boundaries(sequence), _MOST + 1))
    if not found:
        return sequence
    if len(found) > _MOST:
        raise Untranslatable(f"more than {_MOST} word boundaries", found[-1].position)
    if _holds_more_than_characters(sequence):
        raise _refused(found[0], "beside look-around, an atomic part or repeated anchors")
    return _Splitter().rest(sequence.items, False, None) or Sequence((Chars(NOTHING),))


class _Splitter:
    """Writes the rest of a pattern for given neighbours. Each result is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[Node, ...], bool, bool | None], Sequence | None] = {}
        self._sizes: dict[Node, int] = {}

    def rest(self, items: tuple[Node, ...], before: bool, behind: bool | None) -> Sequence | None:
        """Return the items up to the end of the pattern; None if they never match.

        `before`: the last character is a word character. `behind`: the next character is one; False also for the end of
        the subject, None for any.
        """
        key = (items, before, behind)
        if key not in self._known:
            found = self._known[key] = self._rest(items, before, behind)
            if found is not None and self._size(found) > MOST_STATES:
                raise Untranslatable("a pattern that becomes too large")
        return self._known[key]

    def _rest(self, items: tuple[Node, ...], before: bool, behind: bool | None) -> Sequence | None:
        cut = next((place for place, item in enumerate(items) if any(_boundaries(item))), len(items))
        run, rest = Sequence(items[:cut]), items[cut:]
        begun = run if behind is None else _edged(run, behind, last=False)
        if not rest:
            return begun if behind is None else _either([begun, _then(_nothing(run), _next(behind))])
        if run.items:
            ends = [(_edged(begun, last, last=True), last) for last in (True, False) if begun is not None]
            ways = [_then(end, self.rest(rest, last, None)) for end, last in ends if end is not None]
            return _either([*ways, _then(_nothing(run), self.rest(rest, before, behind))])
        if behind is None:
            return _either([self.rest(items, before, next_one) for next_one in (True, False)])
        return _either([self.rest(way, before, behind) for way in self._ways(items, before, behind)])

    def _ways(self, items: tuple[Node, ...], before: bool, behind: bool) -> list[tuple[Node, ...]]:
        """Return the alternatives of the items, the first of which contains a boundary, with one layer of it
        resolved.
        """
        first, *rest = items
        match first:
            case At(anchor):
                return [tuple(rest)] if (before == behind) is _HOLDS_BETWEEN_EQUALS[anchor] else []
            case Choice(branches):
                return [(*branch.items, *rest) for branch in branches]
            case Repeat(body, least, most) if most is not None and most <= _MOST_ROUNDS:
                return [(*body.items * rounds, *rest) for rounds in range(least, most + 1)]
        raise _refused(next(_boundaries(first)), "in a long repetition")

    def _size(self, node: Node) -> int:
        """Return the number of nodes, written out."""
        match node:
            case Sequence(parts) | Choice(parts):
                if node not in self._sizes:
                    self._sizes[node] = 1 + sum(map(self._size, parts))
                return self._sizes[node]
            case Repeat(body):
                return 1 + self._size(body)
            case _:
                return 1


def _boundaries(node: Node) -> Iterator[At]:
    """Yield the Unicode boundaries in the node."""
    match node:
        case At(anchor) if anchor in _CONSTRUCTS:
            yield node
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from _boundaries(part)
        case Repeat(body) | Atomic(body) | Lookahead(body) | Lookbehind(body):
            yield from _boundaries(body)


def _refused(boundary: At, where: str) -> Untranslatable:
    return Untranslatable(f"{_CONSTRUCTS[boundary.anchor]} {where}", boundary.position)


def _holds_more_than_characters(node: Node) -> bool:
    match node:
        case Sequence(parts) | Choice(parts):
            return any(map(_holds_more_than_characters, parts))
        case Repeat(body):
            # An anchor in a round that may be empty holds at one place and not at another.
            return _holds_more_than_characters(body) or ((empty := _nothing(body)) is not None and bool(empty.items))
        case _:
            return isinstance(node, Atomic | Lookahead | Lookbehind)


def _next(word: bool) -> Sequence:
    """Return a test of the next character at the end of a pattern, where consuming it makes no difference."""
    character = Chars(_side(word))
    if word:
        return Sequence((character,))
    return Sequence((Choice((Sequence((character,)), Sequence((At(Anchor.FINISH, None),)))),))


@lru_cache(maxsize=4096)
def _kept(ranges: Ranges, word: bool) -> Ranges:
    """Return the word characters of a set, or its other characters."""
    return difference(ranges, _side(not word))


@cache
def _side(word: bool) -> Ranges:
    letters = unicode_categories()["WORD"]
    return letters if word else complement(letters)


def _edged(node: Node, word: bool, *, last: bool) -> Sequence | None:
    """Return the non-empty matches whose first or last character is a word character, or is none."""
    match node:
        case Chars(ranges):
            kept = _kept(ranges, word)
            return Sequence((Chars(kept),)) if kept else None
        case Sequence(items):
            return _edged_sequence(items, word, last=last)
        case Choice(branches):
            return _either([_edged(branch, word, last=last) for branch in branches])
        case Repeat(body, least, most, position) if most != 0:
            others = Repeat(body, max(least - 1, 0), None if most is None else most - 1, position)
            return _joined(_edged(body, word, last=last), Sequence((others,)), backwards=last)
        case _:
            return None


def _edged_sequence(items: tuple[Node, ...], word: bool, *, last: bool) -> Sequence | None:
    ordered = items[::-1] if last else items
    passed: Sequence | None = Sequence(())
    found = []
    size = 0
    for place, item in enumerate(ordered):
        if passed is None:
            break
        others = ordered[place + 1 :]
        size += len(others)
        if size > MOST_STATES:
            raise Untranslatable("a pattern that becomes too large")
        edge = _joined(passed, _edged(item, word, last=last), backwards=last)
        found.append(_joined(edge, Sequence(others[::-1] if last else others), backwards=last))
        passed = _joined(passed, _nothing(item), backwards=last)
    return _either(found)


def _nothing(node: Node) -> Sequence | None:
    """Return the tests that remain where the node matches the empty text: its anchors; None if it never does."""
    match node:
        case At():
            return Sequence((node,))
        case Sequence(items):
            found: Sequence | None = Sequence(())
            for item in items:
                found = _then(found, _nothing(item))
            return found
        case Choice(branches):
            return _either([_nothing(branch) for branch in branches])
        case Repeat(body, least):
            return _nothing(body) if least else Sequence(())
        case _:
            return None


def _joined(near: Sequence | None, far: Sequence | None, *, backwards: bool) -> Sequence | None:
    return _then(far, near) if backwards else _then(near, far)


def _then(first: Sequence | None, second: Sequence | None) -> Sequence | None:
    return None if first is None or second is None else Sequence((*first.items, *second.items))


def _either(ways: list[Sequence | None]) -> Sequence | None:
    possible = [way for way in ways if way is not None]
    if len(possible) <= 1:
        return possible[0] if possible else None
    return Sequence((Choice(tuple(possible)),))
