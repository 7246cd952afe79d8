"""A rate limit on work that callers can cause."""

from __future__ import annotations

import math
from collections.abc import Callable


class Allowance:
    """A token bucket: `most` at once and another one every `seconds`; `clock` counts seconds and never runs
    backwards.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._left = float(most)
        self._counted_at = -math.inf

    def wait(self) -> float:
        """Return the seconds until one is granted; 0 where one is granted now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._counted_at) / self._seconds)
        self._counted_at = now
        # A rounding error in the sum is no reason to wait.
        return max(0.0, (1.0 - self._left) * self._seconds) if self._left < 1.0 - 1e-9 else 0.0

    def use(self) -> None:
        """Count one that was granted."""
        self._left -= 1.0
