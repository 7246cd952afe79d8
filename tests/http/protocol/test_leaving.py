"""A client that leaves while a request is worked on: the connection tells, however the request came."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from server.fairness.places import WORK, Place, Room
from server.http.disconnects import WhileConnected
from server.http.errors import ClientGone
from server.http.even_times import Ended
from server.http.fair_turns import RequestTurn
from server.http.leaving import LEAVING, Leaving
from tests.support.patience import PATIENCE
from tests.support.serving import Address, serving

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class Waiting:
    """Reads the body of each request, and waits for its client to leave."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.tasks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        turn = RequestTurn(receive, Place(Room(WORK), ("address", "a")), None, scope[LEAVING])
        self.begun.release()
        while (await turn()).get("more_body"):
            continue
        before = len(asyncio.all_tasks())
        try:
            async with WhileConnected(Ended(turn)):
                self.begun.release()
                await asyncio.sleep(0.05)
                self.tasks = len(asyncio.all_tasks()) - before
                await asyncio.sleep(60)
        except ClientGone:
            self.left.release()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def address(waiting: Waiting) -> Iterator[Address]:
    with serving(waiting) as running:
        yield running


@pytest.mark.parametrize(
    ("pieces", "behind"),
    [
        ([b"{}"], b""),
        ([b""], b""),
        ([b"x" * 10, b"x" * 300_000], b""),
        ([b"{}"], HEAD % 0),
    ],
    ids=["small", "empty", "large last piece", "another request behind"],
)
def test_the_work_is_ended(waiting: Waiting, address: Address, pieces: list[bytes], behind: bytes) -> None:
    with socket.create_connection((address.host, address.port), PATIENCE) as client:
        client.sendall(HEAD % len(b"".join(pieces)))
        assert waiting.begun.acquire(timeout=PATIENCE)
        for piece in pieces:
            time.sleep(0.02)
            client.sendall(piece)
        assert waiting.begun.acquire(timeout=PATIENCE)
        client.sendall(behind)
        assert not waiting.left.acquire(timeout=0.1)
    assert waiting.left.acquire(timeout=PATIENCE)
    assert waiting.tasks == 0


def test_a_client_that_is_gone_already_has_nothing_done_for_it() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def work() -> None:
        leaving = Leaving(is_heard=True)
        turn = RequestTurn(receive, Place(Room(WORK), ("address", "a")), None, leaving)
        leaving.tell()
        with pytest.raises(ClientGone):
            async with WhileConnected(turn):
                raise AssertionError

    asyncio.run(work())


def test_nothing_is_told_behind_the_block() -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def work() -> None:
        leaving = Leaving(is_heard=True)
        turn = RequestTurn(receive, Place(Room(WORK), ("address", "a")), None, leaving)
        async with WhileConnected(turn):
            await asyncio.sleep(0)
        assert not leaving._calls
        leaving.tell()
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    asyncio.run(work())
