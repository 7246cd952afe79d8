"""A circuit breaker: while OPA is dead, a question fails at once instead of waiting for its deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.authz.contract.errors import Failure, PolicyUnavailable

FAILURES_TO_OPEN: Final = 3
SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0


class Breaker:
    """Opens after `FAILURES_TO_OPEN` failures in a row; then one question after each pause is let through as a trial.

    `clock` counts seconds. Pauses double from `SHORTEST_PAUSE` to `LONGEST_PAUSE` while the trials fail. `openings`
    counts how often it has opened.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.openings = 0
        self._clock = clock
        self._failures = 0
        self._pause = SHORTEST_PAUSE
        self._open_until: float | None = None
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        """True while questions fail at once."""
        return self._open_until is not None

    def admit(self) -> bool:
        """True if the question that may now be asked is the trial; raises PolicyUnavailable if none may be.

        Its outcome is then told to exactly one of `succeeded`, `failed` and `abandoned`.
        """
        if self._open_until is None:
            return False
        if self._on_trial or self._clock() < self._open_until:
            raise PolicyUnavailable(Failure.BREAKER, "opa did not answer the last questions and is not asked now")
        self._on_trial = True
        return True

    def succeeded(self) -> None:
        """OPA answered, whatever it said."""
        self._failures = 0
        self._pause = SHORTEST_PAUSE
        self._open_until = None
        self._on_trial = False

    def failed(self, trial: bool) -> None:
        """OPA could not be reached or did not answer in time."""
        if trial:
            self._on_trial = False
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self._open_until is not None:
            return  # asked before the breaker opened: says nothing new
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self.openings += self._open_until is None
            self._open_until = self._clock() + self._pause

    def abandoned(self, trial: bool) -> None:
        """Note that the question was given up before its answer, so nothing was learnt."""
        if trial:
            self._on_trial = False
