"""Storing an answer on its way: what its caller gets when, and what happens to the place in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from json import dumps
from typing import Any

import pytest

from server.api.chat.recording import RecordingChat
from server.inference.answers.metered import MeteredChat
from server.inference.provider import (
    DONE,
    ChatModel,
    ChatRequest,
    ChatStream,
    Pieces,
    ProviderFailed,
)
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader
from server.storage.database.database import DatabaseUnavailable
from server.storage.write_queue import WriteQueue

Json = dict[str, Any]


class Kept:
    """A provider that stores, and what it has stored; writes wait for `go_on`."""

    def __init__(self, model: ChatModel, queue: WriteQueue) -> None:
        self.answers: list[Json] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.model = RecordingChat(model, queue, self._write)

    async def _write(self, answer: Json) -> None:
        await self.go_on.wait()
        self.answers.append(answer)


def asking(**more: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "a b c"}], **more}
    return ChatRequest("p/m", dumps(body).encode(), "chatcmpl-ours")


def with_kept(
    use: Callable[[Kept, WriteQueue], Awaitable[None]], wrap: Callable[[ChatModel], ChatModel] | None = None
) -> None:
    async def used() -> None:
        reader, queue = Reader(), WriteQueue(1, 1)
        echo: ChatModel = Echo(reader)
        async with queue.running():
            await use(Kept(wrap(echo) if wrap else echo, queue), queue)
            # Whatever happened, no place is kept in the end.
            (await queue.reserve()).leave()
            assert queue.under_way == 0
        await reader.close()

    asyncio.run(used())


def said(answer: Json) -> tuple[str, str]:
    return answer["id"], answer["choices"][0]["message"]["content"]


def test_the_end_of_an_answer_waits_for_its_record() -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        kept.go_on.clear()
        answering = asyncio.create_task(kept.model.complete(asking()))
        done, _ = await asyncio.wait([answering], timeout=0.05)
        assert not done
        kept.go_on.set()
        await answering
        assert list(map(said, kept.answers)) == [("chatcmpl-ours", "echo: a b c")]

    with_kept(use)


def test_of_a_stream_the_last_event_alone_waits() -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        kept.go_on.clear()
        pieces = aiter(await kept.model.stream(asking(stream=True)))
        got = [await anext(pieces) for _ in range(6)]
        assert DONE not in b"".join(got)
        assert b'"finish_reason":"stop"' in got[-1]
        last = asyncio.create_task(anext(pieces))
        done, _ = await asyncio.wait([last], timeout=0.05)
        assert not done
        kept.go_on.set()
        assert await last == DONE
        assert list(map(said, kept.answers)) == [("chatcmpl-ours", "echo: a b c")]
        assert await anext(pieces, None) is None

    with_kept(use)


@pytest.mark.parametrize("taken", range(8))
def test_a_stream_that_is_left_is_not_stored_and_frees_its_place(taken: int) -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        events = await kept.model.stream(asking(stream=True))
        pieces = aiter(events)
        got = [await anext(pieces) for _ in range(min(taken, 7))]
        await events.aclose()
        await events.aclose()
        assert len(kept.answers) == (DONE in got)

    with_kept(use)


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_refuses_frees_the_place(stream: bool) -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        ask = kept.model.stream if stream else kept.model.complete
        for _ in range(3):
            with pytest.raises(ProviderFailed):
                await ask(asking(n=0))
        assert kept.answers == []

    with_kept(use)


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_place_the_provider_is_not_asked(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.storage.write_queue.ROOM_SECONDS", 0.02)

    async def use(kept: Kept, queue: WriteQueue) -> None:
        kept.go_on.clear()
        done = (await queue.reserve()).fill(kept.go_on.wait, 1)
        ask = kept.model.stream if stream else kept.model.complete
        with pytest.raises(DatabaseUnavailable):
            await ask(asking(n=0))  # which the provider would refuse in another way
        kept.go_on.set()
        await done

    with_kept(use)


class _Saying:
    """A provider that answers with one text; `together` says that the whole stream is one piece."""

    def __init__(self, text: str, *, together: bool = False) -> None:
        self._text = text
        self._together = together

    def _answer(self, place: str) -> bytes:
        choice = {"index": 0, place: {"role": "assistant", "content": self._text}, "finish_reason": "stop"}
        head = {"id": "chatcmpl-ours", "object": "chat.completion", "created": 1, "model": "p/m"}
        return dumps({**head, "choices": [choice]}, ensure_ascii=False).encode()

    async def complete(self, _request: ChatRequest) -> Pieces:
        return [self._answer("message")]

    async def stream(self, _request: ChatRequest) -> ChatStream:
        event = b"data: %b\n\n" % self._answer("delta")
        return _Pieces([event + DONE] if self._together else [event, DONE])


class _Pieces:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None: ...


def test_a_stream_that_comes_in_one_piece_reaches_its_caller_whole() -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        events = await kept.model.stream(asking(stream=True))
        got = [piece async for piece in events]
        await events.aclose()
        assert got[-1] == DONE
        assert b"".join(got) == b"data: %b\n\n%b" % (_Saying("hi")._answer("delta"), DONE)
        assert list(map(said, kept.answers)) == [("chatcmpl-ours", "hi")]

    with_kept(use, lambda _: _Saying("hi", together=True))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "is_kept"),
    [("x" * 260_000, True), ("x" * 263_000, False), ("é" * 43_000, True), ("é" * 44_000, False)],
    ids=["ASCII", "much ASCII", "other", "much other"],
)
def test_an_answer_of_more_than_256_kilobytes_as_json_goes_to_its_caller_alone(
    text: str, is_kept: bool, stream: bool
) -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        if stream:
            events = await kept.model.stream(asking(stream=True))
            got = b"".join([piece async for piece in events])
            await events.aclose()
        else:
            got = b"".join(await kept.model.complete(asking()))
        assert text.encode() in got
        assert [said(answer)[1] for answer in kept.answers] == [text] * is_kept

    with_kept(use, lambda _: _Saying(text))


class _Free:
    """A budget without a limit."""

    reserved = 1

    async def settle(self, used: int) -> None:
        """Nothing."""


async def _free() -> _Free:
    return _Free()


def test_an_answer_that_is_paid_for_is_stored_as_its_caller_gets_it() -> None:
    async def use(kept: Kept, _queue: WriteQueue) -> None:
        asked = asking(stream=True, stream_options={"include_usage": True})
        got = b"".join([piece async for piece in await kept.model.stream(asked)])
        assert got.endswith(DONE)
        assert b"usage" not in got
        [answer] = kept.answers
        assert said(answer) == ("chatcmpl-ours", "echo: a b c")
        assert "usage" not in answer

    with_kept(use, lambda model: MeteredChat(model, _free, lambda *_: None, hidden=True))
