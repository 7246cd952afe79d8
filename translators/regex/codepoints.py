"""Sets of code points as sorted ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Ranges = tuple[tuple[int, int], ...]
"""First and last code point of each run: sorted, disjoint, never adjacent."""

LAST: Final = 0x10FFFF
NOTHING: Final[Ranges] = ()
EVERYTHING: Final[Ranges] = ((0, LAST),)


def union(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Return the set that covers exactly `pairs`, which may overlap and come in any order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Return every code point that isn't in `ranges`."""
    gaps: list[tuple[int, int]] = []
    following = 0
    for first, last in ranges:
        if first > following:
            gaps.append((following, first - 1))
        following = last + 1
    if following <= LAST:
        gaps.append((following, LAST))
    return tuple(gaps)


def difference(left: Ranges, right: Ranges) -> Ranges:
    """Return the code points of `left` that aren't in `right`."""
    return complement(union((*complement(left), *right)))


def holds(ranges: Ranges, point: int) -> bool:
    """Return whether `point` is in `ranges`."""
    return any(first <= point <= last for first, last in ranges)


def only(ranges: Ranges) -> int | None:
    """Return the one code point of the set; None if it has none or several."""
    return ranges[0][0] if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else None
