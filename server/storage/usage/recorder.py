"""Writing of usage in the background, and the removal of what is older than it is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Final

from server.background.tasks import in_background
from server.fairness.shares import NoRoom
from server.storage.database.database import DatabaseUnavailable, ParentGone
from server.storage.usage.table import Batch, UsageTable, batches_of
from server.storage.usage.tally import DAY_SECONDS, Account, UsageTally

FLUSH_SECONDS: Final = 2.0
"""Seconds between two writes, and so what a process that is killed loses while the database answers."""

LAST_SECONDS: Final = 10.0
"""Seconds for which a server that shuts down tries to write what is counted."""

_SWEEP_SECONDS: Final = 3600.0
_PAUSE: Final = 0.2
_AWAY: Final = (DatabaseUnavailable, NoRoom, ParentGone)

_log: Final = logging.getLogger("ostiary.storage")


class UsageRecorder:
    """Writes what `tally` counts to `table`, each count once, and keeps it for `keep_days` days.

    While the database is away, counts wait in memory within the bounds of the tally. `team` is the attribute whose
    first value is the team that a request counts for. `now` is in seconds since 1970.
    """

    def __init__(
        self, tally: UsageTally, table: UsageTable, team: str, keep_days: int, now: Callable[[], float] = time.time
    ) -> None:
        self._tally = tally
        self._table = table
        self._team = team
        self._keep_days = keep_days
        self._now = now
        self._writer = token_hex(16)
        self._number = 1
        self._taken: list[Account] = []
        self._batches: deque[Batch] = deque()
        self._turn = asyncio.Lock()
        self._is_away = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write from time to time, and at the end what is left, for up to `LAST_SECONDS`."""
        try:
            async with in_background("usage", self._keep_writing(), self._sweep()):
                yield
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self._finish()
            except TimeoutError:
                _log.error("the server ends, and usage that still waited for its database is lost")

    async def flush(self) -> None:
        """Write all that is counted; raises DatabaseUnavailable, NoRoom and ParentGone, after which nothing is lost."""
        async with self._turn:
            # A call that is cancelled at any point leaves what the next one goes on with.
            while await self._has_batches():
                await self._write_first()

    async def _has_batches(self) -> bool:
        if not self._batches:
            self._taken = self._taken or self._tally.take()
            if self._taken:
                # In a thread, since there may be thousands of principals with many attributes.
                self._batches.extend(await asyncio.to_thread(_batches, self._taken, self._team))
                self._taken = []
        return bool(self._batches)

    async def _write_first(self) -> None:
        """Write the first batch; what can't be written is looked for in its halves, and is dropped."""
        batch = self._batches[0]
        try:
            await self._table.write(self._writer, self._number, batch)
        except _AWAY:
            raise
        except Exception as fault:  # noqa: BLE001 - one count that can't be written must not keep the others
            self._batches.popleft()
            if len(batch) > 1:
                middle = len(batch) // 2
                self._batches.extendleft((batch[middle:], batch[:middle]))
            else:
                _log.error("the usage of one principal can't be written (%s)", type(fault).__name__)
        else:
            self._batches.popleft()
            self._number += 1

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flushed()

    async def _finish(self) -> None:
        while True:
            if await self._flushed():
                return
            await asyncio.sleep(_PAUSE)

    async def _flushed(self) -> bool:
        """Flush; return False where the database is away."""
        try:
            await self.flush()
        except _AWAY as fault:
            if not self._is_away:
                _log.warning("usage waits for its database: %s", fault)
            self._is_away = True
            return False
        self._is_away = False
        return True

    async def _sweep(self) -> None:
        while True:
            try:
                await self._table.forget(int(self._now()) // DAY_SECONDS - self._keep_days)
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("old usage is not removed yet: %s", fault)
            await asyncio.sleep(_SWEEP_SECONDS)


def _batches(accounts: list[Account], team: str) -> list[Batch]:
    return [*batches_of(accounts, team)]
