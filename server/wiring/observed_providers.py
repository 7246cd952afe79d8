"""Providers wrapped so that each use is noted: it tells their health, moves their breaker, is logged and counted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from server.fairness.caller import CURRENT, Caller
from server.inference.breaker import Breaker
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

Answer = TypeVar("Answer")

_log: Final = logging.getLogger("ostiary.inference")


class Notes:
    """Notes what becomes of the calls to one provider: on its `dependency`, in its `breaker`, in the log, by `count`.

    With `quotes`, the log has the beginning of the provider's own message too, which may hold a part of a prompt.
    """

    def __init__(
        self,
        provider_id: str,
        dependency: Dependency,
        count: Callable[[str, str], None],
        breaker: Breaker | None = None,
        *,
        quotes: bool,
    ) -> None:
        self._provider_id = provider_id
        self._dependency = dependency
        self._count = count
        self._quotes = quotes
        self.breaker = breaker

    def began(self, request: ChatRequest) -> Use:
        """Return the use that begins; raises the failure of a request that the breaker doesn't let through."""
        caller = CURRENT.get()
        if self.breaker is None:
            return Use(self, caller, is_trial=False)
        try:
            return Use(self, caller, is_trial=self.breaker.enter(caller))
        except ProviderFailed as failure:
            self.failed(request, failure)
            raise

    def worked(self) -> None:
        """Note an answer."""
        self._dependency.worked()

    def failed(self, request: ChatRequest, failure: ProviderFailed) -> None:
        """Note a failure. A provider that refuses a request, or is busy, has answered; one that is paused has not."""
        is_theirs = failure.fault is Fault.PROVIDER
        if self.breaker is not None and self.breaker.suspects:
            self._dependency.look()
        if is_theirs:
            self._dependency.failed((self.breaker and self.breaker.told) or failure.message)
        elif failure.fault is not Fault.PAUSED:
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


class Use:
    """One call to a provider, under way."""

    __slots__ = ("_caller", "_is_trial", "_notes")

    def __init__(self, notes: Notes, caller: Caller, *, is_trial: bool) -> None:
        self._notes = notes
        self._caller = caller
        self._is_trial = is_trial

    def accepted(self) -> None:
        """Note that the provider has begun a stream, which is all that a trial waits for."""
        if self._is_trial:
            self.ended()
            self._is_trial = False
        self._notes.worked()

    def worked(self) -> None:
        """Note a whole answer."""
        self.ended()
        self._notes.worked()

    def ended(self) -> None:
        """Note the end of a stream."""
        if self._notes.breaker is not None:
            self._notes.breaker.worked(self._caller, is_trial=self._is_trial)

    def failed(self, request: ChatRequest, failure: ProviderFailed) -> None:
        """Note a failure."""
        if self._notes.breaker is not None:
            self._notes.breaker.failed(self._caller, failure, is_trial=self._is_trial)
        self._notes.failed(request, failure)

    def left(self) -> None:
        """Note that the call has no outcome."""
        if self._notes.breaker is not None:
            self._notes.breaker.left(self._caller, is_trial=self._is_trial)


def observed(provider: Provider, dependency: Dependency, notes: Notes) -> Provider:
    """Return the provider with each of its calls noted."""
    connection = ObservedConnection(provider.connection, dependency, notes.breaker)
    return replace(provider, connection=connection, chat=ObservedChat(provider.chat, notes))


class ObservedConnection:
    """A connection whose health is known from its use, or from a probe that is made at most every few seconds."""

    def __init__(self, connection: Connection, dependency: Dependency, breaker: Breaker | None = None) -> None:
        self._connection = connection
        self._dependency = dependency
        self._breaker = breaker
        dependency.probe = self._ask
        dependency.breaker = breaker
        if breaker is not None:
            dependency.strain = lambda: breaker.told

    async def start(self) -> None:
        """Make ready."""
        await self._connection.start()

    async def close(self) -> None:
        """Close everything that is open."""
        await self._connection.close()

    async def health(self) -> ProviderHealth:
        """Return what is known of the provider."""
        finding = await self._dependency.found()
        breaker = None if self._breaker is None else self._breaker.state
        if finding.reason is None:
            return ProviderHealth(HealthStatus.OK, breaker=breaker)
        return ProviderHealth(HealthStatus.ERROR, finding.reason, breaker)

    async def _ask(self) -> str | None:
        health = await self._connection.health()
        if self._breaker is not None:
            self._breaker.probed(is_away=health.is_away)
        if health.status is HealthStatus.OK:
            return None
        return (self._breaker and self._breaker.told) or health.message


class ObservedChat:
    """A chat model, each of whose calls is noted; a stream counts as answered when the provider accepts it."""

    def __init__(self, model: ChatModel, notes: Notes) -> None:
        self._model = model
        self._notes = notes

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        answer, use = await self._asked(request, self._model.complete)
        use.worked()
        return answer

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream."""
        events, use = await self._asked(request, self._model.stream)
        use.accepted()
        # The request, which may be large, is not kept for the stream.
        return _ObservedStream(events, use, request.model_id, request.request_id)

    async def _asked(self, request: ChatRequest, ask: Callable[[ChatRequest], Awaitable[Answer]]) -> tuple[Answer, Use]:
        """Return what the model answers, and the use that has begun with it."""
        use = self._notes.began(request)
        try:
            return await ask(request), use
        except ProviderFailed as failure:
            use.failed(request, failure)
            raise
        except BaseException:
            use.left()
            raise


class _ObservedStream:
    """A stream whose end, or failure, is noted too."""

    def __init__(self, events: ChatStream, use: Use, model_id: str, request_id: str) -> None:
        self._events = events
        self._use = use
        self._model_id = model_id
        self._request_id = request_id

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._events:
                yield piece
        except ProviderFailed as failure:
            self._use.failed(ChatRequest(self._model_id, b"", request_id=self._request_id), failure)
            raise
        self._use.ended()

    async def aclose(self) -> None:
        """End the provider's work."""
        await self._events.aclose()
