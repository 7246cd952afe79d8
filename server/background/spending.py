"""The note whether work that is done later may have cost something, or changed something elsewhere, so far."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final


class Spending:
    """Counts the calls to providers and to tools that were made for one piece of work."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked = 0

    @property
    def is_possible(self) -> bool:
        """True once a provider or a tool may have done something."""
        return self._asked > 0

    def note(self) -> None:
        """Note that a provider or a tool is asked now."""
        self._asked += 1

    def take_back(self) -> None:
        """Take a note back, since what was asked has refused before it did anything."""
        self._asked -= 1


SPENDING: Final[ContextVar[Spending | None]] = ContextVar("spending", default=None)
"""The note of the work that is done now; None where nothing asks for it."""


def note_spending() -> Spending | None:
    """Note that a provider or a tool is asked now, and return the note; None where nothing asks for it."""
    spending = SPENDING.get()
    if spending is not None:
        spending.note()
    return spending
