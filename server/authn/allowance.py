"""A rate limit on work that callers can cause."""

from __future__ import annotations

import math
from collections.abc import Callable

from server.fairness.caller import Caller
from server.fairness.remembered import Remembered


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


class SharedAllowance:
    """An allowance for all callers, and a second one like it for those that did not ask for `quiet` seconds.

    So a caller that uses up the first one leaves the second to others. At most `remembered` callers are told apart.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float], *, quiet: float, remembered: int) -> None:
        self._all, self._quiet_ones = Allowance(most, seconds, clock), Allowance(most, seconds, clock)
        self._clock = clock
        self._quiet = quiet
        self._asked: Remembered[float] = Remembered(remembered)

    def of(self, caller: Caller) -> Allowance:
        """Return the allowance that `caller` may use, which is not granted yet."""
        key = "\0".join(caller).encode("utf-8", "surrogatepass")
        asked_at, now = self._asked.get(key), self._clock()
        self._asked.put(key, now, caller)
        is_quiet = asked_at is None or now - asked_at >= self._quiet
        return self._quiet_ones if is_quiet and self._all.wait() > 0 else self._all
