"""The exception for a pattern without an exact translation."""

from __future__ import annotations


class Untranslatable(Exception):
    """Raised for a pattern without an exact translation; `str()` is one sentence for the user.

    `construct` names the cause ("back-reference", "look-behind", …). `position` is its offset in the pattern, in
    characters from 0, or None where there is no single place or it isn't certain.
    """

    def __init__(self, construct: str, position: int | None = None) -> None:
        self.construct = construct
        self.position = position
        place = "" if position is None else f" at character {position + 1}"
        super().__init__(f"{construct}{place} has no exact translation")
