"""A lease of work that is renewed for as long as the work goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from server.api.vector_stores.purges import LEASE_SECONDS
from server.api.vector_stores.work import Lease, WorkQueue
from server.fairness.shares import NoRoom
from server.http.interruptible import Interruptible
from server.storage.database.database import DatabaseUnavailable, Overtaken

RENEWAL_SECONDS: Final = LEASE_SECONDS / 5
"""Seconds after which a lease is renewed."""


class LeaseLost(Exception):
    """The work is another process's now, or its link is gone."""


class HeldLease:
    """The lease of work that this process does; `lease` is its present state while `settling`."""

    def __init__(self, queue: WorkQueue, lease: Lease) -> None:
        self.lease = lease
        self._queue = queue
        self._lock = asyncio.Lock()
        self._block = Interruptible(LeaseLost)

    def begin(self) -> None:
        """Note that the part may hold something from now on."""
        self.lease = replace(self.lease, has_begun=True)

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew the lease for as long as the context lasts; interrupt the context with LeaseLost once it is lost."""
        renewing = asyncio.create_task(self._renew_for_ever())
        try:
            with self._block:
                yield
        finally:
            async with self._lock:  # a renewal that is under way comes to its end
                renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            async with self._lock:
                try:
                    renewed = await self._queue.renew(self.lease)
                    self.lease = replace(renewed, has_begun=self.lease.has_begun)
                except Overtaken:
                    self._block.interrupt()
                    return
                except (DatabaseUnavailable, NoRoom):
                    continue
