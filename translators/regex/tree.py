"""The syntax tree of a pattern: flags resolved, captures and greediness dropped, since only a match matters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from translators.regex.codepoints import Ranges, holds


class Anchor(Enum):
    r"""A test that consumes nothing."""

    START = auto()  # `^`, `\A`
    LINE_START = auto()  # `(?m)^`
    END = auto()  # `$`: the end, or before a final newline
    LINE_END = auto()  # `(?m)$`
    FINISH = auto()  # `\Z`: the end
    BOUNDARY = auto()  # `(?a)\b`
    NOT_BOUNDARY = auto()  # `(?a)\B`
    UNICODE_BOUNDARY = auto()  # `\b`
    NOT_UNICODE_BOUNDARY = auto()  # `\B`


@dataclass(frozen=True, slots=True, eq=False)
class Chars:
    """One character out of a set; the empty set never matches."""

    ranges: Ranges


@dataclass(frozen=True, slots=True, eq=False)
class At:
    """An anchor; `position` is its offset in the pattern, if known, and so for the other nodes."""

    anchor: Anchor
    position: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Items one after the other; none of them is itself a sequence."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Any one of the branches."""

    branches: tuple[Sequence, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """The body `least` to `most` times; `most` is None where there is no limit."""

    body: Sequence
    least: int
    most: int | None
    position: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Atomic:
    """A body that isn't retried in another way after its first match; `construct` is how the pattern spells it."""

    body: Sequence
    construct: str
    position: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Lookahead:
    """A look-ahead."""

    body: Sequence
    negative: bool
    position: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Lookbehind:
    """A look-behind; its body is of fixed width."""

    body: Sequence
    negative: bool
    position: int | None


Node = Chars | At | Sequence | Choice | Repeat | Atomic | Lookahead | Lookbehind


def cannot_fail(node: Node) -> bool:
    """Return whether the node matches at every place of every subject, in whatever way."""
    match node:
        case Sequence(items):
            return all(map(cannot_fail, items))
        case Choice(branches):
            return any(map(cannot_fail, branches))
        case Repeat(body, least):
            return least == 0 or cannot_fail(body)
        case Atomic(body):
            return cannot_fail(body)
        case _:
            return False


def fixed_width(node: Node) -> int | None:
    """Return the number of characters that the node consumes; None if it varies."""
    match node:
        case Chars():
            return 1
        case At() | Lookahead() | Lookbehind():
            return 0
        case Sequence(items):
            widths = [fixed_width(item) for item in items]
            return None if None in widths else sum(width for width in widths if width is not None)
        case Choice(branches):
            first, *others = {fixed_width(branch) for branch in branches}
            return None if others else first
        case Repeat(body, least, most):
            width = fixed_width(body)
            return 0 if width == 0 else width * least if width is not None and least == most else None
        case Atomic(body):
            return fixed_width(body)


def contains(node: Node, anchor: Anchor) -> bool:
    """Return whether the node contains the anchor."""
    match node:
        case At(found):
            return found is anchor
        case Sequence(items) | Choice(items):
            return any(contains(item, anchor) for item in items if not isinstance(item, Chars))
        case Repeat(body) | Atomic(body) | Lookahead(body) | Lookbehind(body):
            return contains(body, anchor)
        case Chars():
            return False


def may_end_in_newline(node: Node) -> bool:
    """Return whether the last character that a match of the node consumes may be a newline."""
    match node:
        case Chars(ranges):
            return holds(ranges, 0x0A)
        case Sequence(items):
            for item in reversed(items):
                if may_end_in_newline(item):
                    return True
                if not _may_be_empty(item):
                    return False
            return False
        case Choice(branches):
            return any(map(may_end_in_newline, branches))
        case Repeat(body) | Atomic(body):
            return may_end_in_newline(body)
        case _:
            return False


def _may_be_empty(node: Node) -> bool:
    match node:
        case Chars():
            return False
        case Sequence(items):
            return all(map(_may_be_empty, items))
        case Choice(branches):
            return any(map(_may_be_empty, branches))
        case Repeat(body, least):
            return least == 0 or _may_be_empty(body)
        case Atomic(body):
            return _may_be_empty(body)
        case _:
            return True
