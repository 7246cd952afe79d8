"""A deliberate mistake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """`old` replaced by `new` in one file, where `old` stands exactly once.

    The name says what a slip of the pen would have done.
    """

    name: str
    file: str
    old: str
    new: str
