"""Pauses between two looks for work."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress


def about(seconds: float) -> float:
    """Return a pause of about so many seconds: servers that were started together needn't look together."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


async def until_woken(woken: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, for at most so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
