"""The lines of a batch that are still to be begun: those that were never begun, and those that are begun once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.api.batches.lines import Again
from server.api.batches.queue import LineAgain, Progress

MOST_AGAIN: Final = 64
"""Lines of one batch that wait for another attempt; while there are so many, no others are begun."""

MOST_AHEAD: Final = 512
"""The same for lines that need more than is left of their owner's quota in this period: others may need less."""


class Remaining:
    """The places of these lines, of `total`; `next` is the first that was never begun."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.next = progress.next
        self._total = total
        self._again = {place: Again(is_paid, tries=tries) for place, is_paid, tries in progress.again}
        self._without_quota = 0

    def __bool__(self) -> bool:
        return bool(self._again) or self.next < self._total

    @property
    def again(self) -> list[LineAgain]:
        """The lines that are begun once more."""
        return sorted((place, again.is_paid, again.tries) for place, again in self._again.items())

    @property
    def due(self) -> float:
        """The time from which on one can be begun; 0 where it is now, or there is none."""
        if self._has_new:
            return 0.0
        return min((again.at for again in self._again.values()), default=0.0)

    def places(self, now: float) -> Iterator[int]:
        """Yield the places of those that can be begun: first those that have waited, then others in their order.

        Each is to be taken before the next one is asked for.
        """
        yield from sorted(place for place, again in self._again.items() if again.at <= now)
        while self._has_new:
            yield self.next

    def first(self, most: int) -> list[int]:
        """Return up to so many places."""
        return [*sorted(self._again), *range(self.next, min(self._total, self.next + most))][:most]

    def take(self, place: int) -> Again:
        """Take a line out, and return what is known of its earlier attempts."""
        again = self._again.pop(place, None)
        if again is None:
            self.next = place + 1
            return Again(is_paid=False)
        self._without_quota -= again.lacks_quota
        return again

    def put_back(self, place: int, again: Again) -> None:
        """Have a line begun once more."""
        self._again[place] = again
        self._without_quota += again.lacks_quota

    @property
    def _has_new(self) -> bool:
        others = len(self._again) - self._without_quota
        return self.next < self._total and others < MOST_AGAIN and self._without_quota < MOST_AHEAD
