"""A provider whose answers are paid for in tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from server.inference.answers.usage import StreamUsage, tokens_of
from server.inference.provider import ChatRequest, ChatStream, Pieces, Provider, ProviderFailed, ProviderHealth

_BYTES_OF_A_TOKEN: Final = 8
"""Of an answer that doesn't say what it cost: more than most tokens have."""

_ENVELOPE: Final = 1024
"""Bytes of an answer that need not be tokens."""


class Meter(Protocol):
    """Tokens that are set aside for one answer: so many as `reserved`."""

    @property
    def reserved(self) -> int: ...

    async def settle(self, used: int) -> None:
        """So many were used in truth; only the first such word counts, and without one all of them were."""
        ...


class MeteredProvider:
    """Runs one chat, for which `reserve` sets tokens aside before the provider is asked; what that raises is raised.

    In the end as many are paid as the provider says, and none where it refused to begin. A provider that says nothing
    believable, or breaks off, and a caller that hangs up leave what was reserved, or more where more has visibly come.
    `hidden` if the request asks for usage and its caller didn't.
    """

    def __init__(self, provider: Provider, reserve: Callable[[], Awaitable[Meter]], *, hidden: bool) -> None:
        self._provider = provider
        self._reserve = reserve
        self._hidden = hidden

    async def start(self) -> None:
        """Make ready."""
        await self._provider.start()

    async def close(self) -> None:
        """Let go."""
        await self._provider.close()

    async def health(self) -> ProviderHealth:
        """As the provider has it."""
        return await self._provider.health()

    async def complete(self, request: ChatRequest) -> Pieces:
        """The whole answer, which is paid for."""
        meter = await self._reserve()
        try:
            answer = await self._provider.complete(request)
        except ProviderFailed as failure:
            await _release(meter, failure)
            raise
        visible = (sum(map(len, answer)) - _ENVELOPE) // _BYTES_OF_A_TOKEN
        await meter.settle(await tokens_of(answer) or max(meter.reserved, visible))
        return answer

    async def stream(self, request: ChatRequest) -> ChatStream:
        """The same in pieces; it is paid for when it is closed."""
        meter = await self._reserve()
        try:
            events = await self._provider.stream(request)
        except ProviderFailed as failure:
            await _release(meter, failure)
            raise
        return _MeteredStream(events, meter, StreamUsage(hidden=self._hidden))


class _MeteredStream:
    def __init__(self, events: ChatStream, meter: Meter, usage: StreamUsage) -> None:
        self._events = events
        self._meter = meter
        self._usage = usage

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._events:
            seen = self._usage.passed(piece)
            if seen:
                yield seen

    async def aclose(self) -> None:
        """End the provider's work, and pay for what it has done."""
        try:
            await self._events.aclose()
        finally:
            await self._meter.settle(self._usage.tokens or max(self._meter.reserved, self._usage.events))


async def _release(meter: Meter, failure: ProviderFailed) -> None:
    if not failure.spent:
        await meter.settle(0)
