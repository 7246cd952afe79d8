"""Providers wrapped so that each use is noted: their health is known from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from server.inference.provider import (
    ChatModel,
    ChatRequest,
    ChatStream,
    Connection,
    Fault,
    HealthStatus,
    Pieces,
    Provider,
    ProviderFailed,
    ProviderHealth,
)
from server.telemetry.dependencies import Dependency


def observed(provider: Provider, dependency: Dependency) -> Provider:
    """Return the provider with each of its failures noted on `dependency`."""
    connection = ObservedConnection(provider.connection, dependency)
    return replace(provider, connection=connection, chat=ObservedChat(provider.chat, dependency))


class ObservedConnection:
    """A connection whose health is known from its use, or from a probe that is made at most every few seconds."""

    def __init__(self, connection: Connection, dependency: Dependency) -> None:
        self._connection = connection
        self._dependency = dependency
        dependency.probe = self._ask

    async def start(self) -> None:
        """Make ready."""
        await self._connection.start()

    async def close(self) -> None:
        """Close everything that is open."""
        await self._connection.close()

    async def health(self) -> ProviderHealth:
        """Return what is known of the provider."""
        finding = await self._dependency.found()
        return (
            ProviderHealth(HealthStatus.OK)
            if finding.reason is None
            else ProviderHealth(HealthStatus.ERROR, finding.reason)
        )

    async def _ask(self) -> str | None:
        health = await self._connection.health()
        return None if health.status is HealthStatus.OK else health.message


class ObservedChat:
    """A chat model, each of whose calls is noted; a stream counts as answered when the provider accepts it."""

    def __init__(self, model: ChatModel, dependency: Dependency) -> None:
        self._model = model
        self._dependency = dependency

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        with _noted(self._dependency):
            return await self._model.complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream."""
        with _noted(self._dependency):
            return await self._model.stream(request)


@contextmanager
def _noted(dependency: Dependency) -> Iterator[None]:
    """Note the outcome of one call to a provider. A provider that refuses a request, or is busy, has answered."""
    try:
        yield
    except ProviderFailed as failure:
        if failure.fault is Fault.PROVIDER:
            dependency.failed(failure.message)
        else:
            dependency.worked()
        raise
    dependency.worked()
