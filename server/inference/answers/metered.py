"""Chat models whose answers are paid for in tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from server.fairness.shares import NoRoom
from server.inference.answers.usage import StreamUsage, tokens_of
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Counted, Pieces, ProviderFailed

_BYTES_OF_A_TOKEN: Final = 8
"""Of an answer that doesn't say what it cost: more than most tokens have."""

_ENVELOPE: Final = 1024
"""Bytes of an answer that need not be tokens."""


class Meter(Protocol):
    """The tokens set aside for one answer."""

    @property
    def reserved(self) -> int:
        """The number of tokens set aside."""
        ...

    async def settle(self, used: int) -> None:
        """Record that `used` tokens were spent. Only the first call counts; without one, all `reserved` are spent."""
        ...


class MeteredChat:
    """Answers one chat by `model`, paid for in tokens.

    `reserve` sets tokens aside before the model is asked; its exceptions are passed on. In the end the number that the
    provider reports is paid, and none where it was not asked or refused, before it began or in the place of an answer.
    If it reports nothing believable or breaks off, or the caller hangs up, the reserved number is paid, or more where
    more has visibly come. `hidden` is true if the request asks for usage and its caller did not.
    """

    def __init__(self, model: ChatModel, reserve: Callable[[], Awaitable[Meter]], *, hidden: bool) -> None:
        self._model = model
        self._reserve = reserve
        self._hidden = hidden

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer, paid for."""
        meter = await self._reserve()
        try:
            answer = await self._model.complete(request)
        except (ProviderFailed, NoRoom) as failure:
            await _release(meter, failure)
            raise
        if isinstance(answer, Counted):
            await meter.settle(answer.tokens or meter.reserved)
            return answer
        visible = (sum(map(len, answer)) - _ENVELOPE) // _BYTES_OF_A_TOKEN
        await meter.settle(await tokens_of(answer) or max(meter.reserved, visible))
        return answer

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream, which is paid for when it is closed."""
        meter = await self._reserve()
        try:
            events = await self._model.stream(request)
        except (ProviderFailed, NoRoom) as failure:
            await _release(meter, failure)
            raise
        return _MeteredStream(events, meter, StreamUsage(hidden=self._hidden))


class _MeteredStream:
    def __init__(self, events: ChatStream, meter: Meter, usage: StreamUsage) -> None:
        self._events = events
        self._meter = meter
        self._usage = usage
        self._is_refused = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._events:
                seen = self._usage.passed(piece)
                if seen:
                    yield seen
        except ProviderFailed as failure:
            self._is_refused = not failure.spent
            raise

    async def aclose(self) -> None:
        """End the provider's work, and pay for it."""
        try:
            await self._events.aclose()
        finally:
            # Of an answer that was refused in its middle, what has come is paid.
            least = 0 if self._is_refused else self._meter.reserved
            await self._meter.settle(self._usage.tokens or max(least, self._usage.events))


async def _release(meter: Meter, failure: ProviderFailed | NoRoom) -> None:
    if not failure.spent:
        await meter.settle(0)
