"""Charges for the tests of counters, and scenarios that run with counters that are open."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from server.quota.counters import Charge, Counters, Usage

WINDOW = 86_400 * 20_000

Make = Callable[[], Counters]
"""Makes counters that share one store; each call is another server's."""


@asynccontextmanager
async def opened(*counters: Counters) -> AsyncIterator[None]:
    """Start the counters, and close them in the end."""
    await asyncio.gather(*(counter.start() for counter in counters))
    try:
        yield
    finally:
        for counter in counters:
            await counter.close()


def run(scenario: Awaitable[None]) -> None:
    """Run a scenario in an event loop of its own."""

    async def awaited() -> None:
        await scenario

    asyncio.run(awaited())


def units(
    key: str, most: int | None, *, window: int = WINDOW, tokens: int = 0, most_tokens: int | None = None
) -> Charge:
    """A charge of one request, or of `tokens`."""
    return Charge(key, window, 0 if tokens else 1, tokens, None if tokens else most, most_tokens)


def used(requests: int, tokens: int, window: int = WINDOW) -> Usage:
    """A count of the period."""
    return Usage(requests, tokens, window)


def new_key() -> str:
    """A key that no other test uses."""
    return secrets.token_hex(8)


async def served(counters: Counters, key: str, count: int = 12) -> None:
    """Take `count` units at once and expect all of them; connections for all of them stay open."""
    taken = await asyncio.gather(*(counters.take(units(key, None)) for _ in range(count)))
    assert all(allowed for allowed, _ in taken)
