"""Places of requests: those that wait for a provider, a body or nothing take none of their caller's share."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack

import pytest
from starlette.types import Message, Scope

from policy.vocabulary import Principal
from server.fairness.places import WORK, Place, Room
from server.http.disconnects import PATIENCE_SECONDS, WhileConnected
from server.http.fair_turns import RequestTurn
from server.inference.provider import ChatRequest, ChatStream, HealthStatus, Pieces, ProviderHealth
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader
from tests.support.application import ByToken, house
from tests.support.fair_turns_server import (
    ALICE,
    CHAT,
    CONNECTIONS,
    MODEST,
    Counting,
    ask,
    is_left_empty,
    places_of,
    until,
)
from tests.support.patience import PATIENCE
from tests.support.serving import request_of, serving


def test_a_listener_for_a_client_that_leaves_gives_no_place_up() -> None:
    async def unfinished() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.request", "more_body": True}

    async def work() -> None:
        room = Room(WORK)
        # The client has announced a body that never comes, and nothing reads it.
        place = Place(room, ("address", MODEST))
        turn = RequestTurn(unfinished, place, lambda: False)
        await turn.begin()
        async with WhileConnected(turn):
            await asyncio.sleep(5 * PATIENCE_SECONDS)
            assert room.shares.used == 1
        place.leave()
        await asyncio.sleep(0)
        assert room.shares.used == 0

    asyncio.run(work())


class Slow(Echo):
    """A provider that answers when the test says so, and counts who waits."""

    def __init__(self) -> None:
        super().__init__(Reader())
        self.waiting = 0
        self.go_on = threading.Event()

    async def _wait(self) -> None:
        self.waiting += 1
        while not self.go_on.is_set():  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.01)

    async def complete(self, request: ChatRequest) -> Pieces:
        await self._wait()
        return await super().complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        await self._wait()
        return await super().stream(request)

    async def health(self) -> ProviderHealth:
        return ProviderHealth(HealthStatus.OK)


@pytest.mark.parametrize("streamed", [False, True])
def test_chats_that_wait_for_their_provider_take_nothing_of_their_callers_share(streamed: bool) -> None:
    slow = Slow()
    app = house(authenticator=ByToken(), providers={"echo": slow})
    request = request_of("POST", "/v1/chat/completions", ALICE, body={**CHAT, "stream": streamed})
    with serving(app) as address, ExitStack() as opened:
        chats = []
        for _ in range(CONNECTIONS):
            chats.append(opened.enter_context(socket.create_connection((address.host, address.port), PATIENCE)))
            chats[-1].sendall(request)
        until(lambda: slow.waiting == CONNECTIONS)
        assert ask(address, request_of("GET", "/v1/models", ALICE)).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_left_empty(app))
        slow.go_on.set()
        for chat in chats:
            assert chat.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_left_empty(app))


def test_bodies_that_come_slowly_take_nothing_of_their_callers_share() -> None:
    app = house(authenticator=ByToken())
    request = request_of("POST", "/v1/chat/completions", ALICE, body=CHAT)
    counting = Counting(app)
    with serving(counting) as address, ExitStack() as opened:
        slow = []
        for _ in range(4 * WORK.each):
            slow.append(opened.enter_context(socket.create_connection((address.host, address.port), PATIENCE)))
            slow[-1].sendall(request[:-10])
        until(lambda: counting.started == len(slow))
        until(lambda: is_left_empty(app))
        assert ask(address, request).startswith(b"HTTP/1.1 200 ")
        for connection in slow:
            connection.sendall(request[-10:])
        for connection in slow:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_left_empty(app))


def test_requests_whose_clients_leave_while_they_wait_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.fairness.places.LAPSE_SECONDS", 60.0)
    go_on, inside = threading.Event(), 0

    class Waiting(ByToken):
        async def authenticate(self, token: str, request: Scope, /) -> Principal:
            nonlocal inside
            inside += 1
            while token == "alice" and known and not go_on.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
            return await super().authenticate(token, request)

    known = False
    app = house(authenticator=Waiting())
    counting = Counting(app)
    request = request_of("GET", "/v1/models", ALICE)
    with serving(counting) as address, ExitStack() as opened:
        ask(address, request)
        known = True
        holders = [
            opened.enter_context(socket.create_connection((address.host, address.port), PATIENCE))
            for _ in range(WORK.each)
        ]
        for holder in holders:
            holder.sendall(request)
        until(lambda: inside == 1 + WORK.each)
        with ExitStack() as vanishing:
            for _ in range(50):
                one = vanishing.enter_context(socket.create_connection((address.host, address.port), PATIENCE))
                one.sendall(request)
            until(lambda: places_of(app).work.shares.waiting == 50)
        until(lambda: places_of(app).work.shares.waiting == 0)
        go_on.set()
        for holder in holders:
            assert holder.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_left_empty(app))
    assert inside == 1 + WORK.each  # nothing was done for those that left
