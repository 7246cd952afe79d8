"""Background tasks: each has a name, is referenced until it ends, and has its faults logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from server.background.faults import log_fault

Work = Coroutine[Any, Any, None]

_log: Final = logging.getLogger("ostiary.background")


class BackgroundTasks:
    """Tasks whose results nothing waits for; belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their starts, in which they are cancelled

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, name: str, work: Work) -> None:
        """Run `work` as a task; if it raises, the fault is logged under `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    async def finish(self) -> None:
        """Return when every task has ended by itself, those included that start in the meantime."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel every task, and return when all have ended."""
        for task in self._tasks:
            task.cancel()
        await self.finish()

    async def end_within(self, seconds: float) -> bool:
        """Return whether every task has ended by itself in so many seconds; those that have not are cancelled then."""
        try:
            async with asyncio.timeout(seconds):
                await self.finish()
        except TimeoutError:
            await self.cancel()
            return False
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            log_fault(_log, f"the background task `{task.get_name()}` failed", fault)


@asynccontextmanager
async def in_background(name: str, *works: Work) -> AsyncIterator[None]:
    """Run each of `works` as a task for as long as the context lasts; at its end they are cancelled and awaited."""
    tasks = BackgroundTasks()
    for work in works:
        tasks.start(name, work)
    try:
        yield
    finally:
        await tasks.cancel()
