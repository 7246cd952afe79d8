"""Providers wrapped so that each use is noted: it tells their health, and each failure is logged and counted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

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

_log: Final = logging.getLogger("ostiary.inference")


class Notes:
    """Notes what becomes of the calls to one provider: on its `dependency`, in the log, and by `count`.

    With `quotes`, the log has the beginning of the provider's own message too, which may hold a part of a prompt.
    """

    def __init__(self, provider_id: str, dependency: Dependency, count: Callable[[str, str], None], *, quotes: bool):
        self._provider_id = provider_id
        self._dependency = dependency
        self._count = count
        self._quotes = quotes

    def worked(self) -> None:
        """Note an answer."""
        self._dependency.worked()

    def failed(self, request: ChatRequest, failure: ProviderFailed) -> None:
        """Note a failure. A provider that refuses a request, or is busy, has answered."""
        is_theirs = failure.fault is Fault.PROVIDER
        if is_theirs:
            self._dependency.failed(failure.message)
        else:
            self._dependency.worked()
        self._count(self._provider_id, failure.kind)
        _log.log(
            logging.WARNING if is_theirs else logging.INFO,
            "%s: provider %s, model %s: %s%s: %s%s",
            request.request_id or "-",
            self._provider_id,
            request.model_id,
            failure.kind,
            "" if failure.status is None else f" with status {failure.status}",
            failure.message,
            f'; it said "{failure.said}"' if self._quotes and failure.said else "",
        )


def observed(provider: Provider, dependency: Dependency, notes: Notes) -> Provider:
    """Return the provider with each of its calls noted."""
    connection = ObservedConnection(provider.connection, dependency)
    return replace(provider, connection=connection, chat=ObservedChat(provider.chat, notes))


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

    def __init__(self, model: ChatModel, notes: Notes) -> None:
        self._model = model
        self._notes = notes

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        with self._noted(request):
            return await self._model.complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream."""
        with self._noted(request):
            events = await self._model.stream(request)
        # The request, which may be large, is not kept for the stream.
        return _ObservedStream(events, self._notes, replace(request, payload=b"", unasked=None))

    @contextmanager
    def _noted(self, request: ChatRequest) -> Iterator[None]:
        try:
            yield
        except ProviderFailed as failure:
            self._notes.failed(request, failure)
            raise
        self._notes.worked()


class _ObservedStream:
    """A stream whose failure is noted too."""

    def __init__(self, events: ChatStream, notes: Notes, request: ChatRequest) -> None:
        self._events = events
        self._notes = notes
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._events:
                yield piece
        except ProviderFailed as failure:
            self._notes.failed(self._request, failure)
            raise

    async def aclose(self) -> None:
        """End the provider's work."""
        await self._events.aclose()
