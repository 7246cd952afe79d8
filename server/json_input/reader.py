"""The reader of bodies: small ones are parsed in the server, large ones and those of many values in worker processes.

The parser holds Python's global lock until it is done, and so does the release of its values: for a hostile body of ten
megabytes that blocks every other request for a second, in any thread. So a worker process reads large bodies, and
returns only the members that matter.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from server.background.tasks import BackgroundTasks
from server.fairness.shares import FairShares, Share
from server.json_input.body_parser import BodyCheck, TextCheck
from server.json_input.memory_limit import MemoryLimit
from server.json_input.strict import InvalidJson, Json, Why, parse_json
from server.json_input.worker_process import WorkerGone, WorkerProcess

LARGE: Final = 64 * 1024
"""Bytes from which a worker process reads a body; a smaller one takes a few milliseconds at most."""

MANY: Final = 8192
"""Brackets, braces and commas from which a worker process reads a body, however small: each may stand for a value."""

READS: Final = Share("large bodies that are read", 2, 1, waiting=4096, waiting_each=1024, seconds=20.0)
"""Large bodies that are read at the same time, each in a process of its own."""

INCOMING: Final = Share("bytes of large bodies", 1024 * 1024 * 1024, 80 * 1024 * 1024, 0, 0, seconds=1.0)
"""Bytes of large bodies that come in, wait, or are read. A process holds some three times as much at its peak."""

LEAST_INCOMING: Final = 20 * 1024 * 1024
"""Bytes that a caller has of `INCOMING` in each process, however many processes there are."""

READ_SECONDS: Final = 20.0
"""Limit of the time to read one body; the worst ones take a second of a processor."""

_SIGNS: Final = (b"[", b"{", b",")

_log: Final = logging.getLogger("ostiary.reading")


class Reader:
    """Reads bodies for one event loop; its processes are started when they are first needed.

    `room` limits the memory of large bodies until they are read. Where the server has several `workers`, the share of
    a caller is divided by them, since its connections are spread over all.
    """

    def __init__(self, workers: int = 1) -> None:
        self.room = MemoryLimit(_part_of_coming(workers))
        self.turns = FairShares(READS)
        self._idle: list[WorkerProcess] = []
        self._ending = BackgroundTasks()

    async def close(self) -> None:
        """End the processes; nothing may be read any more."""
        while self._idle:
            self._end(self._idle.pop())
        await self._ending.finish()

    async def look(self, raw: bytes, look: BodyCheck, *, beside: bool = False) -> Json:
        """Return what `look` returns of the JSON object that `raw` certainly means; raises InvalidJson and NoRoom.

        With `beside`, a worker process reads small bodies too.
        """
        if not beside and len(raw) < LARGE and sum(map(raw.count, _SIGNS)) < MANY:
            return look(parse_json(raw))
        return await self._look_beside(raw, look)

    async def look_at_text(self, raw: bytes, look: TextCheck) -> Json:
        """Return what `look` returns of a text in a worker process; raises InvalidJson and NoRoom."""
        return await self._look_beside(raw, look, as_it_is=True)

    async def _look_beside(self, raw: bytes, look: BodyCheck | TextCheck, *, as_it_is: bool = False) -> Json:
        async with self.turns.turn():
            return await self._ask(raw, f"{look.__module__}:{look.__qualname__}", as_it_is)

    async def _ask(self, raw: bytes, name: str, as_it_is: bool) -> Json:
        process = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                process = self._take_idle() or await WorkerProcess.start()
                return await process.ask(name, raw, as_it_is=as_it_is)
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


def _part_of_coming(workers: int) -> Share:
    return replace(INCOMING, each=min(INCOMING.each, max(INCOMING.each // workers, LEAST_INCOMING)))


def _busy(sentence: str) -> InvalidJson:
    return InvalidJson(f"{sentence}; try again", why=Why.BUSY)
