"""Bodies are read here if they are small, and beside the server if they are large.

The parser holds Python's one lock until it is done, and so does freeing what it made: for a hostile body of ten
megabytes that is a second in which nobody else is served, whatever thread it happens in. So a large body goes to a
process of its own kind, and what comes back is the little that was looked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from server.background.tasks import BackgroundTasks
from server.json_input.memory_limit import MemoryLimit
from server.json_input.queue import FairQueue, QueueFull
from server.json_input.strict import Document, InvalidJson, Json, Why, parse_json
from server.json_input.worker_process import WorkerGone, WorkerProcess

LARGE: Final = 64 * 1024
"""Bytes from which a body is read beside the server: a smaller one takes at most some milliseconds."""

PROCESSES: Final = 2
"""Large bodies that are read at the same time."""

MAX_WAITING: Final = 256 * 1024 * 1024
"""Bytes of large bodies that wait for that; further ones are refused."""

MAX_COMING: Final = 1024 * 1024 * 1024
"""Bytes of large bodies that come in, or wait, or are read; a caller may have a quarter of them."""

READ_SECONDS: Final = 20.0
"""How long reading one body may take; the worst ones take a second of a processor."""

BodyCheck = Callable[[Document], Json]
"""A function at the top of a module that imports the standard library alone.

It tells, as JSON can hold it and in less than a megabyte, what there is to know of a body, or raises Refused.
"""

_log: Final = logging.getLogger("ostiary.reading")


class Reader:
    """Reads bodies for everybody in one event loop; its processes are started when they are first needed.

    `room` is where large bodies are kept until they are read.
    """

    def __init__(self) -> None:
        self.room = MemoryLimit(MAX_COMING)
        self._turns = FairQueue(PROCESSES, MAX_WAITING)
        self._idle: list[WorkerProcess] = []
        self._ending = BackgroundTasks()

    async def close(self) -> None:
        """End the processes; nothing may be read any more."""
        while self._idle:
            self._end(self._idle.pop())
        await self._ending.finish()

    async def look(self, raw: bytes, look: BodyCheck) -> Json:
        """What `look` tells of the JSON object that `raw` certainly means; raises Refused."""
        if len(raw) < LARGE:
            return look(parse_json(raw))
        try:
            await self._turns.begin(len(raw))
        except QueueFull:
            raise _busy("too many large bodies wait to be read") from None
        try:
            return await self._look_beside(raw, f"{look.__module__}:{look.__qualname__}")
        finally:
            self._turns.end()

    async def _look_beside(self, raw: bytes, name: str) -> Json:
        process = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                process = self._take_idle() or await WorkerProcess.start()
                return await process.ask(name, raw)
        except TimeoutError:
            raise _busy(f"the body could not be read within {READ_SECONDS:.0f} seconds") from None
        except WorkerGone as fault:
            _log.error("a reading process failed: %s", fault)
            raise _busy("the body could not be read") from None
        finally:
            if process is not None and process.spent:
                self._end(process)
            elif process is not None:
                self._idle.append(process)

    def _take_idle(self) -> WorkerProcess | None:
        while self._idle:
            process = self._idle.pop()
            if not process.spent:
                return process
            self._end(process)
        return None

    def _end(self, process: WorkerProcess) -> None:
        self._ending.start("end of a json worker", process.ended())


def _busy(sentence: str) -> InvalidJson:
    return InvalidJson(f"{sentence}; try again", why=Why.BUSY)
