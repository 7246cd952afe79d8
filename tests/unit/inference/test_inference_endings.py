"""How a request to a model ends, as it is counted: once, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server.inference.answers.metered import Ending, MeteredChat
from server.inference.provider import (
    DONE,
    ChatRequest,
    ChatStream,
    Counted,
    Fault,
    Pieces,
    ProviderFailed,
    Task,
    Tokens,
)

CHUNK = b'data: {"choices":[]}\n\n'
TOLD = b'data: {"choices":[],"usage":{"total_tokens":9,"prompt_tokens":4,"completion_tokens":5}}\n\n'
BROKEN = ProviderFailed(Fault.PROVIDER, "broken", spent=True)

Work = Callable[[MeteredChat], Awaitable[None]]


class Model:
    """Answers with these pieces, or fails as it is told to; it never ends where the pieces say so."""

    def __init__(self, *pieces: bytes, failure: Exception | None = None, hangs: bool = False) -> None:
        self.pieces = pieces
        self.failure = failure
        self.hangs = hangs

    async def complete(self, request: ChatRequest) -> Pieces:
        if self.failure is not None:
            raise self.failure
        if self.hangs:
            await asyncio.Event().wait()
        return [*self.pieces] if request.task is Task.CHAT else Counted(self.pieces, None)

    async def stream(self, request: ChatRequest) -> ChatStream:
        if self.failure is not None and not self.pieces:
            raise self.failure
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure

    async def aclose(self) -> None:
        pass


async def whole(chat: MeteredChat) -> None:
    await chat.complete(ChatRequest("p/m", b"{}"))


async def embedded(chat: MeteredChat) -> None:
    await chat.complete(ChatRequest("p/m", b"{}", task=Task.EMBEDDING))


async def streamed(chat: MeteredChat) -> None:
    stream = await chat.stream(ChatRequest("p/m", b"{}"))
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()
        await stream.aclose()


async def left_at_once(chat: MeteredChat) -> None:
    await (await chat.stream(ChatRequest("p/m", b"{}"))).aclose()


async def left_after_one(chat: MeteredChat) -> None:
    stream = await chat.stream(ChatRequest("p/m", b"{}"))
    await anext(aiter(stream))
    await stream.aclose()


def cancelled(work: Work) -> Work:
    """The work of a caller that leaves while the model thinks."""

    async def run(chat: MeteredChat) -> None:
        task = asyncio.ensure_future(work(chat))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    return run


@pytest.mark.parametrize(
    ("model", "work", "counted"),
    [
        (Model(b'{"usage":{"total_tokens":9}}'), whole, (Ending.ANSWERED, 9, Tokens(9))),
        (Model(b"{}"), whole, (Ending.ANSWERED, 0, None)),
        (Model(b"x" * (1024 + 80)), whole, (Ending.ANSWERED, 10, None)),
        (Model(b"x" * 9_000), embedded, (Ending.ANSWERED, 0, None)),
        (Model(failure=BROKEN), whole, (Ending.FAILED, 0, None)),
        (Model(failure=RuntimeError()), whole, (Ending.FAILED, 0, None)),
        (Model(hangs=True), cancelled(whole), (Ending.CANCELLED, 0, None)),
        (Model(CHUNK, TOLD, DONE), streamed, (Ending.ANSWERED, 9, Tokens(9, 4, 5))),
        (Model(CHUNK, CHUNK, DONE), streamed, (Ending.ANSWERED, 3, None)),
        (Model(failure=BROKEN), streamed, (Ending.FAILED, 0, None)),
        (Model(CHUNK, failure=BROKEN), streamed, (Ending.FAILED, 1, None)),
        (Model(CHUNK, failure=RuntimeError()), streamed, (Ending.FAILED, 1, None)),
        (Model(CHUNK, hangs=True), cancelled(streamed), (Ending.CANCELLED, 1, None)),
        (Model(TOLD, hangs=True), cancelled(streamed), (Ending.CANCELLED, 9, Tokens(9, 4, 5))),
        (Model(CHUNK, DONE), left_at_once, (Ending.CANCELLED, 0, None)),
        (Model(CHUNK, DONE), left_after_one, (Ending.CANCELLED, 1, None)),
        (Model(CHUNK + DONE), left_after_one, (Ending.ANSWERED, 2, None)),
    ],
)
def test_a_request_without_a_budget_is_counted_once(
    model: Model, work: Work, counted: tuple[Ending, int, Tokens | None]
) -> None:
    counts = list[tuple[Ending, int, Tokens | None]]()

    async def run() -> None:
        try:
            await work(MeteredChat(model, None, lambda *told: counts.append(told), hidden=False))
        except (ProviderFailed, RuntimeError):
            assert model.failure is not None

    asyncio.run(run())
    assert counts == [counted]


def test_who_gets_no_tokens_is_not_counted() -> None:
    counts = list[object]()

    async def refuse() -> None:
        raise KeyError

    async def run() -> None:
        chat = MeteredChat(Model(b"{}"), refuse, lambda *told: counts.append(told), hidden=False)  # type: ignore[arg-type]
        for work in (whole, streamed):
            with pytest.raises(KeyError):
                await work(chat)

    asyncio.run(run())
    assert counts == []
