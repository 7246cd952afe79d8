"""Chat models whose answers are counted, and paid for in tokens where the caller has a budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from server.background.spending import note_spending
from server.fairness.shares import NoRoom
from server.inference.answers.usage import StreamUsage, tokens_of
from server.inference.attachments import NotSent
from server.inference.provider import (
    DONE,
    ChatModel,
    ChatRequest,
    ChatStream,
    Counted,
    Pieces,
    ProviderFailed,
    Task,
    Tokens,
)

_BYTES_OF_A_TOKEN: Final = 8
"""Of an answer that doesn't say what it cost: more than most tokens have."""

_ENVELOPE: Final = 1024
"""Bytes of an answer that need not be tokens."""


class Ending(StrEnum):
    """The end of a request to a model: `cancelled` if the caller left before the answer was complete.

    It is `replaced` if another model was asked after a failure, so that the request counts with that one.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"


Count: TypeAlias = Callable[[Ending, int, Tokens | None], None]
"""Counts a request that has ended, with the tokens that it is charged, and those that the provider reports."""


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
    """Answers one chat by `model`; `count` is told of its end, once.

    `reserve` sets tokens aside before the model is asked, and is None for a caller without a budget; its exceptions are
    passed on, and nothing is counted. In the end the number that the provider reports is charged, and none where it was
    not asked or refused, before it began or in the place of an answer. If it reports nothing believable or breaks off,
    or the caller hangs up, the reserved number is charged, or more where more has visibly come. `hidden` is true if the
    request asks for usage and its caller did not.
    """

    def __init__(
        self, model: ChatModel, reserve: Callable[[], Awaitable[Meter]] | None, count: Count, *, hidden: bool
    ) -> None:
        self._model = model
        self._reserve = reserve
        self._count = count
        self._hidden = hidden

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer, counted and paid for."""
        bill = await self._bill()
        try:
            answer = await self._model.complete(request)
            bill.tokens = answer.tokens if isinstance(answer, Counted) else await tokens_of(answer)
            if bill.tokens is None and request.task is not Task.EMBEDDING:
                bill.visible = (sum(map(len, answer)) - _ENVELOPE) // _BYTES_OF_A_TOKEN
            bill.ending = Ending.ANSWERED
        except BaseException as fault:
            bill.note(fault)
            raise
        finally:
            await bill.pay()
        return answer

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream, which is counted and paid for when it is closed."""
        bill = await self._bill()
        try:
            events = await self._model.stream(request)
        except BaseException as fault:
            bill.note(fault)
            await bill.pay()
            raise
        return _MeteredStream(events, bill, StreamUsage(hidden=self._hidden))

    async def _bill(self) -> _Bill:
        return _Bill(None if self._reserve is None else await self._reserve(), self._count)


class _Bill:
    """The account of one request: `ending` and `tokens` as far as they are known, `visible` tokens that have come."""

    __slots__ = ("_count", "_is_paid", "_meter", "_spending", "ending", "is_refused", "tokens", "visible")

    def __init__(self, meter: Meter | None, count: Count) -> None:
        self._meter = meter
        self._count = count
        self._is_paid = False
        self._spending = note_spending()
        self.ending = Ending.CANCELLED
        self.is_refused = False
        self.tokens: Tokens | None = None
        self.visible = 0

    def note(self, fault: BaseException) -> None:
        """Note an exception in the place of an answer, or in the middle of one."""
        self.ending = Ending.CANCELLED if isinstance(fault, asyncio.CancelledError) else Ending.FAILED
        self.is_refused = isinstance(fault, ProviderFailed | NoRoom | NotSent) and not fault.spent
        if self.is_refused and self._spending is not None:
            self._spending.take_back()
            self._spending = None

    async def pay(self) -> None:
        """Count the request, and settle what is set aside for it; later calls do nothing."""
        if self._is_paid:
            return
        self._is_paid = True
        # Of an answer that was refused in its middle, what has come is paid.
        least = 0 if self.is_refused or self._meter is None else self._meter.reserved
        used = max(least, self.visible) if self.tokens is None else self.tokens.total
        self._count(self.ending, used, self.tokens)
        if self._meter is not None:
            await self._meter.settle(used)


class _MeteredStream:
    def __init__(self, events: ChatStream, bill: _Bill, usage: StreamUsage) -> None:
        self._events = events
        self._bill = bill
        self._usage = usage

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passed, bill = self._usage.passed, self._bill
        try:
            async for piece in self._events:
                if piece.endswith(DONE):
                    bill.ending = Ending.ANSWERED
                seen = passed(piece)
                if seen:
                    yield seen
        except Exception as fault:
            bill.note(fault)
            raise

    async def aclose(self) -> None:
        """End the provider's work, and pay for it."""
        try:
            await self._events.aclose()
        finally:
            self._bill.tokens, self._bill.visible = self._usage.tokens, self._usage.events
            await self._bill.pay()
