"""The room of large embeddings: held until the answer is sent, given back whatever happens."""

from __future__ import annotations

import asyncio
from json import dumps

import pytest

from server.fairness.outgoing import OutgoingAnswers
from server.inference.provider import ChatRequest, ProviderFailed, Task, Wanted
from server.inference.providers import vector_answers
from server.inference.providers.echo_vectors import EchoVectors
from server.inference.providers.vector_answers import FEW, FREE, MOST_ANSWER, VectorRoom
from server.json_input.reader import Reader

COUNT = 100
VECTOR = [0.5 + place / 100_000 for place in range(2000)]


def request(count: int = COUNT) -> ChatRequest:
    return ChatRequest("p/v", b"", task=Task.EMBEDDING, wanted=Wanted(count))


class Body:
    """A body that comes in pieces of 64 KB."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.place = 0

    async def more(self) -> bytes:
        await asyncio.sleep(0)
        begin, self.place = self.place, self.place + 65536
        return self.text[begin : self.place]


LARGE = dumps({"data": [{"index": index, "embedding": VECTOR} for index in range(COUNT)]}).encode()


@pytest.mark.parametrize("length", [None, 10, len(LARGE)])
def test_a_large_answer_holds_room_until_it_is_sent(length: int | None) -> None:
    async def run() -> None:
        room = VectorRoom()
        assert len(LARGE) > FREE
        with OutgoingAnswers().answer():
            await room.answer("p", request(), Body(LARGE).more, length)
            # A packed answer is longer than its head says.
            assert room.room.used == (length if length == len(LARGE) else MOST_ANSWER)
            assert room.turns.used == 0
        assert room.room.used == 0

    asyncio.run(asyncio.wait_for(run(), 60))


def test_an_answer_that_is_wrong_or_not_waited_for_gives_its_room_back() -> None:
    async def run() -> None:
        room = VectorRoom()
        with OutgoingAnswers().answer():
            with pytest.raises(ProviderFailed):
                await room.answer("p", request(COUNT + 1), Body(LARGE).more, None)
            task = asyncio.ensure_future(room.answer("p", request(), Body(LARGE).more, None))
            while not room.turns.used:  # noqa: ASYNC110 - a share announces no use
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while room.turns.used or room.room.used:  # noqa: ASYNC110 - a thread gives them back
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_an_answer_is_not_read_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_answers, "MOST_ANSWER", 2 * FREE)

    async def run() -> None:
        room, body = VectorRoom(), Body(b" " * (4 * FREE))
        with OutgoingAnswers().answer():
            with pytest.raises(ProviderFailed, match=f"more than {2 * FREE} bytes"):
                await room.answer("p", request(), body.more, None)
            assert body.place <= 2 * FREE + 65536
            assert room.room.used == 0

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_small_answer_takes_none() -> None:
    async def run() -> None:
        room = VectorRoom()
        body = Body(dumps({"data": [{"embedding": VECTOR} for _ in range(9)]}).encode())
        with OutgoingAnswers().answer():
            await room.answer("p", request(9), body.more, None)
            assert (room.room.used, room.turns.used) == (0, 0)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_many_small_embeddings_are_converted_beside_the_event_loop() -> None:
    async def run() -> None:
        room, count = VectorRoom(), FEW + 1
        body = Body(dumps({"data": [{"embedding": [0.5]} for _ in range(count)]}).encode())
        turn = await room.turns.take()
        task = asyncio.ensure_future(room.answer("p", request(count), body.more, None))
        while not room.turns.waiting:  # noqa: ASYNC110 - a share announces no use
            await asyncio.sleep(0)
        turn.end()
        await task

    asyncio.run(asyncio.wait_for(run(), 60))


def test_large_embeddings_of_the_echo_hold_room_too() -> None:
    async def run() -> None:
        room, reader = VectorRoom(), Reader()
        payload = dumps({"model": "v", "input": ["a"] * COUNT}).encode()
        asked = ChatRequest("p/v", payload, task=Task.EMBEDDING, wanted=Wanted(COUNT, full=2000))
        with OutgoingAnswers().answer():
            pieces = await EchoVectors(reader, room).complete(asked)
            assert sum(map(len, pieces)) <= room.room.used
            assert room.turns.used == 0
        assert room.room.used == 0
        await reader.close()

    asyncio.run(asyncio.wait_for(run(), 60))
