"""A time by which something must have happened on a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """At most one time: what is to happen then does not if the deadline is stopped before."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether a time has been set, and not been stopped since."""
        return self._timer is not None

    def set(self, seconds: float, late: Callable[[], object]) -> None:
        """Have `late` called once that many seconds are over, in the running event loop."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, late)

    def stop(self) -> None:
        """Take the time back, if one is set."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
