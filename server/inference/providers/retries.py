"""Further attempts at a connection, where nothing was sent and nothing received."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from server.inference.provider import ProviderFailed

RETRIES: Final = 2
"""Further attempts to connect, unless the configuration says otherwise."""

PAUSE_SECONDS: Final = 0.1
"""The longest pause before the first of them; each further one may be twice as long as the one before."""

RETRY_SECONDS: Final = 5.0
"""Seconds after the first attempt from which on no other is made."""

T = TypeVar("T")


async def retried(ask: Callable[[], Awaitable[T]], retries: int) -> T:
    """Return what `ask` returns; it is called again, up to `retries` times, while it fails before it has sent a byte.

    The pauses are random, so that requests that failed together don't come again together.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + RETRY_SECONDS
    for number in range(retries):
        try:
            return await ask()
        except ProviderFailed as failure:
            pause = PAUSE_SECONDS * 2**number * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret hangs on it
            if not failure.unsent or loop.time() + pause >= until:
                raise
        await asyncio.sleep(pause)
    return await ask()
