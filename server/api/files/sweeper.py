"""Removes files whose time is over, and blobs that have no record any more or never got one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from server.api.files.blob_leases import BlobLeases
from server.api.files.deletions import FileDeletions
from server.background.pauses import about
from server.background.tasks import in_background
from server.fairness.shares import NoRoom
from server.storage.blobs.store import Blobs, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable, Overtaken
from server.storage.records.table import RecordTable

SWEEP_SECONDS: Final = 60.0
"""Seconds between two sweeps, about."""

_AT_ONCE: Final = 100
_PAUSE: Final = 0.01
"""Seconds after so many files, each of them in a transaction of its own, in which other processes can write."""

_log: Final = logging.getLogger("ostiary.files")


class FileSweeper:
    """Removes files whose expiry their uploader set, and blobs that no caller can reach, without asking the policy.

    Any number of them may work on the same tables and blobs, in any number of processes.
    """

    def __init__(
        self, files: RecordTable, claims: BlobLeases, blobs: Blobs, deletions: FileDeletions | None = None
    ) -> None:
        """`deletions` are told of files that go."""
        self._files = files
        self._deletions = deletions
        self._claims = claims
        self._blobs = blobs

    async def sweep(self) -> int:
        """Remove blobs, and return how many.

        Raises BlobsUnavailable, DatabaseUnavailable and NoRoom where more are left.
        """
        ended = _AT_ONCE
        while ended == _AT_ONCE:
            ended = await self._end_expired()
            await asyncio.sleep(_PAUSE)
        gone = 0
        while keys := await self._claims.take_over(_AT_ONCE):
            for key in keys:
                await self._remove(key)
                gone += 1
            await asyncio.sleep(_PAUSE)
        return gone

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep for as long as the context lasts."""
        async with in_background("file sweep", self._sweep_for_ever()):
            yield

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                gone = await self.sweep()
            except (BlobsUnavailable, DatabaseUnavailable, NoRoom) as fault:
                _log.warning("files that nobody can reach any more are still there: %s", fault)
            else:
                if gone:
                    _log.info("removed %d files that had expired, were deleted or never came to their end", gone)
            await asyncio.sleep(about(SWEEP_SECONDS))

    async def _end_expired(self) -> int:
        """Remove the records of expired files, and return how many; the same transactions condemn their blobs."""
        now = int(time.time())
        expired, deletions, database = await self._files.expired(now, _AT_ONCE), self._deletions, self._files.database
        for identity in expired:
            removing = self._files.removing_expired(identity, now)
            noting = () if deletions is None else deletions.beside(identity, database)
            with suppress(Overtaken):
                await database.write(removing, self._claims.condemning(identity, at_once=True), *noting)
                if deletions is not None:
                    await deletions.after(identity, database)
        return len(expired)

    async def _remove(self, key: str) -> None:
        await self._blobs.delete(key)
        await self._claims.forget(key)
