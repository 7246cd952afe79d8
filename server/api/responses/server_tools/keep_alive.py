"""Comments in a stream that is silent, such as while a tool works: proxies and clients give up on silent ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, TypeVar

SILENT_SECONDS: Final = 15.0
"""Seconds without an event after which a stream says that it goes on."""

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment in a stream of events, which clients pass over."""

T = TypeVar("T")

_END: Final = object()


async def with_keep_alives(source: AsyncIterator[T]) -> AsyncIterator[T | None]:
    """Yield what comes of the source, and None whenever nothing has come for a while."""
    while True:
        waiting = asyncio.ensure_future(anext(source, _END))
        try:
            while not (await asyncio.wait([waiting], timeout=SILENT_SECONDS))[0]:
                yield None
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait([waiting])
        came = waiting.result()
        if came is _END:
            return
        yield came  # type: ignore[misc]  # it is what the source has, or the end
