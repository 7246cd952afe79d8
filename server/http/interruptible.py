"""Ending a piece of work from outside, with an exception of one's choice in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Interruptible:
    """Blocks of one task that others may interrupt.

    `interrupt` cancels the block that the task is in, and what `reason` makes is raised in its place. Between blocks
    nothing is disturbed: then the next one does not begin, and raises such a reason at once.

    An exception that is kept here would hold the frames that it has passed, with all that they hold, and they this
    object: a body that a caller left would stay in memory until a collection.
    """

    def __init__(self, reason: Callable[[], Exception]) -> None:
        self._reason = reason
        self._interrupted = False
        self._task: asyncio.Task[object] | None = None

    def interrupt(self) -> None:
        """End what is under way; a second time does nothing."""
        if not self._interrupted:
            self._interrupted = True
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> None:
        """Begin a block."""
        if self._interrupted:
            raise self._reason()
        self._task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        task, self._task = self._task, None
        if not self._interrupted or task is None:
            return
        # A cancellation by other code, such as a shutdown, is passed on.
        if task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise self._reason() from None
