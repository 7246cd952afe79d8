"""The resources that the application opens when it starts to serve and closes when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette

from server.inference.provider import Connection

LifespanResource = Callable[[], AbstractAsyncContextManager[object]]
"""A function that makes a resource to be opened."""


class Lifespan:
    """Opens the resources of the application in the event loop that serves, and closes them when that stops."""

    def __init__(self, resources: Iterable[LifespanResource]) -> None:
        self._resources = tuple(resources)

    @asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncIterator[None]:
        """Open the resources in the order given, and close them in the opposite one."""
        async with AsyncExitStack() as opened:
            for resource in self._resources:
                await opened.enter_async_context(resource())
            yield


class Closeable(Protocol):
    """A resource that is closed at the end."""

    async def close(self) -> None:
        """Close everything that is open."""


@asynccontextmanager
async def closed(resource: Closeable | None) -> AsyncIterator[None]:
    """Close the resource, unless it is None, at the end of the context."""
    try:
        yield
    finally:
        if resource is not None:
            await resource.close()


@asynccontextmanager
async def started(connection: Connection) -> AsyncIterator[None]:
    """Start the connection, and close it at the end of the context."""
    await connection.start()
    async with closed(connection):
        yield
