"""The texts with which the subjects of a pattern start, the part of a pattern that a database can test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from translators.regex.codepoints import NOTHING, only
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
    cannot_fail,
)

_MOST: Final = 16
"""Most starts that a pattern is spelled out into."""


@dataclass(frozen=True, slots=True)
class Start:
    """A text without NUL at the beginning of subjects; `complete`: every subject that begins with it matches the
    pattern.
    """

    text: str
    complete: bool


def starts(tree: Sequence) -> tuple[Start, ...]:
    """Return texts, perhaps empty, such that every subject that the pattern matches begins with one of them."""
    left = [*reversed(tree.items)]
    while left and isinstance(left[-1], At) and left[-1].anchor is Anchor.START:
        left.pop()
    found: dict[str, bool] = {}
    for start in _spelled_out([], left, _MOST, exact=True):
        found[start.text] = found.get(start.text, False) or start.complete
    spelled = [Start(text, complete) for text, complete in found.items()]
    return tuple(start for start in spelled if not any(_includes(other, start) for other in spelled))


def _includes(wider: Start, start: Start) -> bool:
    """Return whether `start` adds nothing to `wider`."""
    return wider.text != start.text and start.text.startswith(wider.text) and wider.complete >= start.complete


def _spelled_out(chars: list[str], left: list[Node], most: int, *, exact: bool) -> list[Start]:
    """Return at most `most` starts of `chars` followed by a match of all nodes of `left`, which is in reverse order.

    `exact`: no part that may reject such a subject was skipped.
    """
    while left:
        match left[-1]:
            case Chars(ranges) if point := only(ranges):  # neither several nor NUL, which PostgreSQL refuses
                left.pop()
                chars.append(chr(point))
            case Sequence(items):
                left[-1:] = reversed(items)
            case Choice(branches) if len(branches) <= most:
                share = most // len(branches)
                return [
                    start
                    for branch in branches
                    for start in _spelled_out([*chars], [*left[:-1], *reversed(branch.items)], share, exact=exact)
                ]
            case Lookahead() | Lookbehind() | At(Anchor.BOUNDARY | Anchor.UNICODE_BOUNDARY):
                left.pop()
                exact = False
            case Atomic(body):
                left[-1:] = reversed(body.items)
                exact = False
            case Repeat(body, least) if least and not cannot_fail(body):
                # The first round begins like the body; the number of rounds is left to the whole pattern.
                left[:] = [Chars(NOTHING), *reversed(body.items)]
            case _:
                break
    # A part that can't fail matches the empty text, and `re.match` doesn't require the end of the subject.
    return [Start("".join(chars), exact and all(map(cannot_fail, left)))]
