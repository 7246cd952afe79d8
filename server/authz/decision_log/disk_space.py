"""The free space of the decision log's disk: looked at now and then, with a warning before it is used up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from server.authz.decision_log.limits import LOW_SPACE, SPACE_SECONDS

_ENOUGH: Final = 5 * LOW_SPACE // 4
"""Bytes from which the warning is taken back: a disk at the limit is not warned about again and again."""

_MB: Final = 1_000_000

_log: Final = logging.getLogger("ostiary.decision_log")


class DiskSpace:
    """The free bytes as `measure` finds them; `free` is None where there is no disk, `is_low` below `LOW_SPACE`."""

    def __init__(self, measure: Callable[[], int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self.free: int | None = None
        self.is_low = False
        self.due_at = clock()

    def look(self) -> None:
        """Measure, if that is due, and log when the space gets low and when it no longer is."""
        if self._clock() < self.due_at:
            return
        self.due_at = self._clock() + SPACE_SECONDS
        self.free = free = self._measure()
        if free is None:
            return
        if free < LOW_SPACE and not self.is_low:
            self.is_low = True
            _log.warning(
                "the disk of the decision log has %d MB left; without room for it every request is answered with 503",
                free // _MB,
            )
        elif free >= _ENOUGH and self.is_low:
            self.is_low = False
            _log.warning("the disk of the decision log has room again: %d MB", free // _MB)
