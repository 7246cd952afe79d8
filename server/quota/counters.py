"""The protocol of the stores that count usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

LOOKED_AT: Final = 500
"""Counts of one transaction that looks for those to forget."""

FORGET_PAUSE: Final = 0.01
"""Seconds between two such transactions, in which requests are counted."""


class CountersUnavailable(Exception):
    """Nothing can be counted now, so nothing may be used; the message is for the operator's log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of one caller, the units just taken included, in the current period, which starts at `window`."""

    requests: int
    tokens: int
    window: int


@dataclass(frozen=True, slots=True)
class Charge:
    """Units to take from the share of `key` in the period that starts at `window` (seconds since 1970).

    All of them are taken, or none where more than `most_requests` or `most_tokens` would be used; None is no limit.
    """

    key: str
    window: int
    requests: int
    tokens: int
    most_requests: int | None
    most_tokens: int | None


class Counters(Protocol):
    """Counters for every server that shares the store; a period that has begun hides the ones before it."""

    async def start(self) -> None:
        """Open the store, and make in it what is missing; raises CountersUnavailable."""
        ...

    async def close(self) -> None:
        """Close the store."""
        ...

    async def take(self, units: Charge) -> tuple[bool, Usage]:
        """Return whether the units were taken, and the usage now; raises CountersUnavailable.

        Atomic: of any number of takers at once, no more get their units than the limits allow. A clock that jumps back
        gives nothing back: the later period stays in force.
        """
        ...

    async def give_back(self, key: str, window: int, tokens: int) -> None:
        """Correct the tokens used in that period, if it is still in force: a positive number gives some back, a
        negative one takes more, whatever the limit says. Never below zero; raises CountersUnavailable.
        """
        ...

    async def used(self, key: str) -> Usage | None:
        """Return the usage in the last period that was counted; None if nothing was. Raises CountersUnavailable."""
        ...

    async def reset(self, key: str) -> None:
        """Set the counts of the period that is in force to 0; raises CountersUnavailable.

        Tokens that are reserved at this moment may be given back later, and lower what is counted by then.
        """
        ...

    async def ping(self) -> None:
        """Return if the store answers; raises CountersUnavailable."""
        ...

    async def forget(self, before: int) -> None:
        """Remove what was counted in periods that started before then, in steps; raises CountersUnavailable."""
        ...
