"""What the application works with, for as long as it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette

from server.inference.provider import Provider

LifespanResource = Callable[[], AbstractAsyncContextManager[object]]
"""Something to be opened."""


class Lifespan:
    """Opens what the application works with in the event loop that serves, and closes it when that stops."""

    def __init__(self, resources: Iterable[LifespanResource]) -> None:
        self._resources = tuple(resources)

    @asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncIterator[None]:
        """Everything open, in the order given; it is closed in the opposite one."""
        async with AsyncExitStack() as opened:
            for resource in self._resources:
                await opened.enter_async_context(resource())
            yield


class Closeable(Protocol):
    """What is to be closed at the end."""

    async def close(self) -> None:
        """Let go of everything."""


@asynccontextmanager
async def closed(resource: Closeable | None) -> AsyncIterator[None]:
    """The resource, which is closed in the end; None is nothing."""
    try:
        yield
    finally:
        if resource is not None:
            await resource.close()


@asynccontextmanager
async def started(provider: Provider) -> AsyncIterator[None]:
    """The provider at work."""
    await provider.start()
    async with closed(provider):
        yield
