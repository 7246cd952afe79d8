"""A lease of work that is renewed for as long as the work goes on."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from server.fairness.shares import NoRoom
from server.http.interruptible import Interruptible
from server.storage.database.database import DatabaseUnavailable, Overtaken

LEASE_SECONDS: Final = 20
"""Seconds for which work that a process has taken keeps other processes away, unless it says that it goes on."""

RENEWAL_SECONDS: Final = LEASE_SECONDS / 5
"""Seconds after which a lease is renewed."""


class LeaseLost(Exception):
    """The work is another process's now, or what it is about is gone."""


class RenewedLease(ABC):
    """The lease of work that this process does."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        """Held while the lease is renewed, or changed otherwise."""
        self._block = Interruptible(LeaseLost)

    @abstractmethod
    async def renew(self) -> None:
        """Have the lease hold again for its whole time; raises Overtaken where it is lost."""

    def lose(self) -> None:
        """Interrupt the work with LeaseLost."""
        self._block.interrupt()

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew the lease for as long as the context lasts; interrupt the context with LeaseLost once it is lost."""
        renewing = asyncio.create_task(self._renew_for_ever())
        try:
            with self._block:
                yield
        finally:
            async with self.lock:  # a renewal that is under way comes to its end
                renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            async with self.lock:
                try:
                    await self.renew()
                except Overtaken:
                    self._block.interrupt()
                    return
                except (DatabaseUnavailable, NoRoom):
                    continue
