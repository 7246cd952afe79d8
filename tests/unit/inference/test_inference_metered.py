"""What is paid for an answer in the end, by value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from json import dumps

import pytest

from server.fairness.shares import FairShares, NoRoom, Share
from server.inference.answers.metered import Ending, MeteredChat
from server.inference.provider import (
    ChatRequest,
    ChatStream,
    Fault,
    Pieces,
    ProviderFailed,
)
from server.inference.shared import SharedChat

ASKED = ChatRequest("p/m", b"{}")
RESERVED = 100


class Meter:
    """Keeps what it is told."""

    reserved = RESERVED

    def __init__(self) -> None:
        self.settled: list[int] = []

    async def settle(self, used: int) -> None:
        self.settled.append(used)


class Events:
    """A stream that gives these pieces, and then fails if it is to; letting go of it may fail too."""

    def __init__(self, pieces: list[bytes], failure: Exception | None = None, parting: Exception | None = None) -> None:
        self._pieces = pieces
        self._failure = failure
        self._parting = parting

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        if self._parting is not None:
            raise self._parting


class Scripted:
    """A model that answers with what it was given."""

    def __init__(self, answer: bytes | Events | ProviderFailed | NoRoom) -> None:
        self._answer = answer

    async def complete(self, request: ChatRequest) -> Pieces:
        if isinstance(self._answer, ProviderFailed | NoRoom):
            raise self._answer
        assert isinstance(self._answer, bytes)
        return [self._answer]

    async def stream(self, request: ChatRequest) -> ChatStream:
        if isinstance(self._answer, ProviderFailed | NoRoom):
            raise self._answer
        assert isinstance(self._answer, Events)
        return self._answer


def test_who_finds_no_room_at_the_provider_pays_nothing() -> None:
    async def run() -> None:
        meters, counts = list[Meter](), list[tuple[Ending, int]]()

        async def reserve() -> Meter:
            meters.append(Meter())
            return meters[-1]

        shared = SharedChat(Scripted(Events([])))
        shared.shares = FairShares(Share("chats", 1, 1, 0, 0, seconds=1.0))
        model = MeteredChat(shared, reserve, lambda *told: counts.append(told[:2]), hidden=False)
        async with shared.shares.turn():
            for ask in (model.complete, model.stream):
                with pytest.raises(NoRoom):
                    await ask(ASKED)
        assert [meter.settled for meter in meters] == [[0], [0]]
        assert counts == [(Ending.FAILED, 0)] * 2

    asyncio.run(run())


def test_who_finds_no_room_for_an_answer_pays_what_was_set_aside() -> None:
    full = NoRoom("bytes of answers", of_caller=True)
    full.spent = True

    async def work(model: MeteredChat) -> None:
        with pytest.raises(NoRoom):
            await model.complete(ASKED)

    assert paid(full, work) == [RESERVED]


def paid(answer: bytes | Events | ProviderFailed | NoRoom, work: Callable[[MeteredChat], Awaitable[None]]) -> list[int]:
    """What was settled, in its order, once the same has been counted."""
    meter = Meter()
    counts = list[int]()

    async def reserve() -> Meter:
        return meter

    async def run() -> None:
        await work(MeteredChat(Scripted(answer), reserve, lambda _end, used, _told: counts.append(used), hidden=False))

    asyncio.run(run())
    assert counts == meter.settled
    return meter.settled


async def complete(provider: MeteredChat) -> None:
    await provider.complete(ASKED)


async def drain(provider: MeteredChat) -> None:
    stream = await provider.stream(ASKED)
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()


def chunk(usage: int | None = None) -> bytes:
    told = {} if usage is None else {"usage": {"total_tokens": usage}}
    return f"data: {dumps({'choices': [], **told})}\n\n".encode()


def whole(size: int, usage: int | None = None) -> bytes:
    told = {} if usage is None else {"usage": {"total_tokens": usage}}
    text = dumps({"choices": ["X"], **told})
    return text.replace("X", "x" * (size - len(text) + 1)).encode()


@pytest.mark.parametrize(
    ("size", "usage", "tokens"),
    [
        (1000, 7, 7),
        (1000, 5000, 5000),
        (1000, 0, RESERVED),
        (1000, None, RESERVED),
        (1024 + 8 * RESERVED, None, RESERVED),
        (1024 + 8 * 5000, None, 5000),
        (200_000, 7, 7),
        (1024 + 8 * 50_000, None, 50_000),
    ],
)
def test_a_whole_answer_costs_what_it_says_or_what_was_reserved_or_what_is_seen(
    size: int, usage: int | None, tokens: int
) -> None:
    assert paid(whole(size, usage), complete) == [tokens]


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        ([chunk(7)], 7),
        ([chunk(7), chunk(), chunk(9)], 9),
        ([chunk(7), chunk(0)], 7),
        ([chunk()] * 50, RESERVED),
        ([chunk()] * 150, 150),
        ([chunk() * 150], 150),
        ([], RESERVED),
    ],
)
def test_a_stream_costs_what_it_says_last_or_what_was_reserved_or_what_is_seen(
    events: list[bytes], tokens: int
) -> None:
    assert paid(Events(events), drain) == [tokens]


def test_a_stream_that_breaks_off_is_paid_for_and_so_is_one_that_can_not_be_let_go() -> None:
    async def drain_failing(provider: MeteredChat) -> None:
        with pytest.raises(RuntimeError):
            await drain(provider)

    assert paid(Events([chunk()], RuntimeError()), drain_failing) == [RESERVED]
    assert paid(Events([chunk(7)], RuntimeError()), drain_failing) == [7]
    assert paid(Events([chunk(7)], parting=RuntimeError()), drain_failing) == [7]


@pytest.mark.parametrize(("spent", "tokens"), [(True, RESERVED), (False, 1)])
def test_a_refusal_in_the_middle_costs_what_has_come_unless_the_provider_may_go_on(spent: bool, tokens: int) -> None:
    async def refused(provider: MeteredChat) -> None:
        with pytest.raises(ProviderFailed):
            await drain(provider)

    assert paid(Events([chunk()], ProviderFailed(Fault.PROVIDER, "gone", spent=spent)), refused) == [tokens]


@pytest.mark.parametrize("work", [complete, drain])
@pytest.mark.parametrize(("spent", "settled"), [(False, [0]), (True, [RESERVED])])
def test_a_refusal_costs_nothing_unless_the_provider_may_have_begun(
    work: Callable[[MeteredChat], Awaitable[None]], spent: bool, settled: list[int]
) -> None:
    async def refused(provider: MeteredChat) -> None:
        with pytest.raises(ProviderFailed):
            await work(provider)

    assert paid(ProviderFailed(Fault.PROVIDER, "gone", spent=spent), refused) == settled
