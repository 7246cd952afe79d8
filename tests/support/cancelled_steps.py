"""Work that is cancelled at one of the moments in which it waits, chosen by number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from enum import Enum
from typing import Any


class When(Enum):
    """When the cancellation comes, as seen from a moment in which the work begins to wait.

    `WAITS` is right after that. `OVER` is when what it waits for has come and the work doesn't know yet. `TWICE` is as
    `WAITS`, and once more when the work waits again.
    """

    WAITS = "waits"
    OVER = "over"
    TWICE = "twice"


async def cancelled_at(step: int, when: When, work: Coroutine[Any, Any, object]) -> bool:
    """Cancel the work when it waits for the time `step`, from 0, and return whether it came so far."""
    stepped = _Stepped(step, when, work)
    task = stepped.task = asyncio.ensure_future(stepped.run())
    try:
        await task
    except asyncio.CancelledError:
        assert stepped.is_cancelled
    return stepped.is_cancelled


class _Stepped:
    def __init__(self, step: int, when: When, work: Coroutine[Any, Any, object]) -> None:
        self.task: asyncio.Task[None] | None = None
        self.is_cancelled = False
        self._left = step
        self._when = when
        self._work = work

    async def run(self) -> None:
        await _Driven(self._work, self._waits)

    def _waits(self, waited: Any) -> None:
        """Note that the work begins to wait for a future, or for the next turn of the loop where it is None."""
        self._left -= 1
        if self._left == -1 or (self._left == -2 and self._when is When.TWICE):
            assert self.task is not None
            self.is_cancelled = True
            if self._when is When.OVER and waited is not None:
                waited.add_done_callback(lambda _: self.task and self.task.cancel())
            else:
                asyncio.get_running_loop().call_soon(self.task.cancel)


class _Driven:
    def __init__(self, work: Coroutine[Any, Any, object], waits: Callable[[Any], None]) -> None:
        self._work = work
        self._waits = waits

    def __await__(self) -> Generator[Any, Any, None]:
        sent: Any = None
        fault: BaseException | None = None
        while True:
            try:
                waited = self._work.send(sent) if fault is None else self._work.throw(fault)
            except StopIteration:
                return
            self._waits(waited)
            sent = fault = None
            try:
                sent = yield waited
            except BaseException as raised:  # noqa: BLE001 - it is the work's
                fault = raised
