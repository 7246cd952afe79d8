"""Large answers of providers: room for them is taken before they are read, and they are paid for without it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from json import dumps, loads

import pytest

from server.fairness.outgoing import UNCOUNTED, OutgoingAnswers
from server.fairness.shares import NoRoom, Share
from server.inference.provider import ChatRequest, ProviderFailed
from server.inference.providers.openai_compatible import MAX_ANSWER, OpenAICompatible
from server.inference.providers.response_body import ROOM_STEP
from tests.support.scripted_provider import Script, Scripted, scripted

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "x" * 2 * UNCOUNTED}, "finish_reason": "stop"}
LARGE = dumps({"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE]}).encode()
ASKED = ChatRequest("p/canonical", b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


def sends(body: bytes, length: int | None) -> Script:
    framing = "" if length is None else f"Content-Length: {length}\r\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n{framing}\r\n".encode()

    def script(connection: socket.socket) -> None:
        connection.sendall(head + body)

    return script


@asynccontextmanager
async def provider(server: Scripted) -> AsyncIterator[OpenAICompatible]:
    made = OpenAICompatible("p", f"{server.url}/v1", None)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def outgoing(size: int) -> OutgoingAnswers:
    return OutgoingAnswers(Share("bytes of answers", size, size, waiting=8, waiting_each=8, seconds=0.05))


@pytest.mark.parametrize(
    ("length", "held"), [(len(LARGE), len(LARGE)), (None, ROOM_STEP)], ids=["known length", "unknown length"]
)
def test_an_answer_holds_room_once_until_it_is_sent(server: Scripted, length: int | None, held: int) -> None:
    server.play(sends(LARGE, length))

    async def run() -> None:
        room = outgoing(8 * ROOM_STEP)
        async with provider(server) as made:
            with room.answer():
                pieces = await made.complete(ASKED)
                assert held <= room.shares.used <= held + 2 * UNCOUNTED
            assert room.shares.used == 0
        assert loads(b"".join(pieces))["model"] == "p/canonical"

    asyncio.run(run())


def test_an_answer_without_room_is_not_read_and_is_spent(server: Scripted) -> None:
    server.play(sends(LARGE, len(LARGE)))

    async def run() -> None:
        room = outgoing(len(LARGE))
        other = await room.shares.take(1)
        async with provider(server) as made:
            with room.answer(), pytest.raises(NoRoom) as refused:
                await made.complete(ASKED)
        assert refused.value.spent
        other.end()
        assert room.shares.used == 0

    asyncio.run(run())


def test_an_answer_that_says_that_it_is_too_large_is_not_waited_for(server: Scripted) -> None:
    server.play(sends(b"{", MAX_ANSWER + 1))

    async def run() -> None:
        async with provider(server) as made:
            with pytest.raises(ProviderFailed, match="more than"):
                await made.complete(ASKED)

    asyncio.run(run())
