"""Lists that providers give of their own models: asked for when a caller wants one, and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from server.fairness.caller import CURRENT, SERVER

KEPT_SECONDS: Final = 60.0
"""Limit of the age of a list."""

FAILED_SECONDS: Final = 2.0
"""Seconds for which a failure is told again, without another request."""

MOST_LISTED: Final = 1000
"""Models of one list; further ones are left out."""


class OwnModels(Protocol):
    """A provider that tells which models it has."""

    async def models(self) -> Sequence[str]:
        """Return its names of its models; raises ProviderFailed."""
        ...


class KeptModels:
    """The list that `ask` returns, which all callers share; belongs to one event loop. `clock` is in seconds."""

    def __init__(
        self, ask: Callable[[], Awaitable[Sequence[str]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._found: asyncio.Task[Sequence[str]] | None = None
        self._until = 0.0

    async def models(self) -> Sequence[str]:
        """Return the list; raises ProviderFailed."""
        if self._found is None or (self._found.done() and self._clock() >= self._until):
            self._found = asyncio.create_task(self._asked())
        # The request goes on for the others where one caller gives up.
        return await asyncio.shield(self._found)

    async def _asked(self) -> Sequence[str]:
        CURRENT.set(SERVER)
        self._until = float("inf")
        kept = FAILED_SECONDS
        try:
            found = await self._ask()
            kept = KEPT_SECONDS
        finally:
            self._until = self._clock() + kept
        return found[:MOST_LISTED]
