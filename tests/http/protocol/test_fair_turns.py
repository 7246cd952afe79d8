"""However many requests one caller sends, another caller's request waits for a few of them alone.

Counted is how many of the greedy caller's requests are answered while one of the modest caller is under way: that is
the wait, whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from statistics import median, quantiles

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policy.vocabulary import Principal
from server.fairness.places import WORK, Place, Places, Room
from server.http.disconnects import PATIENCE_SECONDS, WhileConnected
from server.http.fair_turns import FairTurns, RequestTurn
from server.inference.provider import ChatRequest, ChatStream, HealthStatus, Pieces, ProviderHealth
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader
from tests.support.application import ByToken, house
from tests.support.greedy_caller import greed
from tests.support.serving import Address, is_whole, request_of, serving

CONNECTIONS = 64
MODEST = "127.0.0.2"
"""The address of the modest caller; the greedy one is at 127.0.0.1."""

MOST_AHEAD = 32
"""Without turns, all 64 are answered before the modest caller is, and more; with them, about four."""

MOST_PIECES_AHEAD = 128
"""Two pieces of its streams come in each turn of the loop, of which a request takes about twenty; without turns, over
a thousand come before the modest caller's answer."""

CHAT = {"model": "llama", "messages": [{"role": "user", "content": "hello"}]}
ALICE = "Authorization: Bearer alice"


class Counting:
    """Counts the pieces of answers to the greedy caller, and how many there were at the last one to the modest caller.

    `started` requests have come.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.started = 0
        self.served = 0
        self.served_before = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.started += 1

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.body":
                if scope["client"][0] == MODEST:
                    self.served_before = self.served
                else:
                    self.served += 1
            await send(message)

        await self._app(scope, receive, counted)


def turns_of(app: Starlette) -> FairTurns:
    layer: object = app.middleware_stack
    while not isinstance(layer, FairTurns):
        layer = layer.app  # type: ignore[attr-defined]  # each middleware has the next one
    return layer


def places_of(app: Starlette) -> Places:
    return turns_of(app)._places


def until(condition: Callable[[], bool]) -> None:
    expires = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < expires
        time.sleep(0.01)


def is_left_empty(app: Starlette) -> bool:
    places = places_of(app)
    rooms = (places.work.shares, places.probes.shares, places.pieces.shares)
    return all((shares.used, shares.waiting, len(shares._holders)) == (0, 0, 0) for shares in rooms)


def ask(address: Address, request: bytes, source: str = MODEST) -> bytes:
    with socket.create_connection((address.host, address.port), 20, (source, 0)) as connection:
        connection.sendall(request)
        answer = b""
        while not is_whole(answer, False):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
        return answer


GREEDY = {
    "lists": request_of("GET", "/v1/models", ALICE),
    "chats": request_of("POST", "/v1/chat/completions", ALICE, body=CHAT),
    "nothing there": request_of("GET", "/v1/nothing", ALICE),
    "no such model": request_of("GET", "/v1/models/none", ALICE),
    "not allowed": request_of("DELETE", "/v1/models", ALICE),
    "no JSON": request_of("POST", "/v1/chat/completions", ALICE, body=b'{"model":'),
    "no token": request_of("GET", "/v1/models"),
    "a token that is refused": request_of("GET", "/v1/models", "Authorization: Bearer bad"),
    "a malformed path": request_of("GET", "/v1/a%00"),
    "a probe": request_of("GET", "/v1/health"),
    "a stream": request_of(
        "POST",
        "/v1/chat/completions",
        ALICE,
        body={**CHAT, "stream": True, "messages": [{"role": "user", "content": "a b c d e f g h " * 20}]},
    ),
}


@pytest.mark.alone
@pytest.mark.parametrize("kind", GREEDY)
def test_few_requests_of_a_greedy_caller_come_before_that_of_another(kind: str) -> None:
    app = house(authenticator=ByToken())
    counting = Counting(app)
    with serving(counting) as address:
        modest = [
            request_of("GET", "/v1/models", "Authorization: Bearer bob"),
            request_of("POST", "/v1/chat/completions", "Authorization: Bearer bob", body=CHAT),
            request_of("GET", "/v1/health"),
        ]
        with greed(address.port, GREEDY[kind], CONNECTIONS):
            until(lambda: counting.served > 2 * CONNECTIONS)
            ahead: list[list[int]] = [[] for _ in modest]
            for _ in range(20):
                for one, counts in zip(modest, ahead, strict=True):
                    before = counting.served
                    assert ask(address, one).startswith(b"HTTP/1.1 200 ")
                    counts.append(counting.served_before - before)
        until(lambda: is_left_empty(app))
    # The client shares the machine: now and then it is late itself, with its request or with the count before.
    most = MOST_PIECES_AHEAD if kind == "a stream" else MOST_AHEAD
    assert max(quantiles(counts, n=4)[0] for counts in ahead) <= most


@pytest.mark.alone
def test_callers_without_authentication_that_send_one_token_have_turns_of_their_own() -> None:
    app = house()
    counting = Counting(app)
    request = request_of("GET", "/v1/models", "Authorization: Bearer none")
    with serving(counting) as address, greed(address.port, request, CONNECTIONS):
        until(lambda: counting.served > 2 * CONNECTIONS)
        ahead = []
        for _ in range(20):
            before = counting.served
            assert ask(address, request).startswith(b"HTTP/1.1 200 ")
            ahead.append(counting.served_before - before)
    assert median(ahead) <= MOST_AHEAD


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


def test_a_token_that_is_refused_waits_in_its_former_callers_turns_no_more() -> None:
    class Revoking(ByToken):
        is_revoked = False

        async def authenticate(self, token: str, request: Scope, /) -> Principal:
            return await super().authenticate("bad" if self.is_revoked else token, request)

    authenticator = Revoking()
    app, digest = house(authenticator=authenticator), sha256(b"Bearer alice").digest()
    request = request_of("GET", "/v1/models", ALICE)
    with serving(app) as address:
        assert ask(address, request).startswith(b"HTTP/1.1 200 ")
        known = turns_of(app)._admission.known
        assert known.caller(digest) == ("principal", "issuer", "alice")
        authenticator.is_revoked = True
        assert ask(address, request).startswith(b"HTTP/1.1 401 ")
        assert known.caller(digest) is None


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
            chats.append(opened.enter_context(socket.create_connection((address.host, address.port), 20)))
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
            slow.append(opened.enter_context(socket.create_connection((address.host, address.port), 20)))
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
            opened.enter_context(socket.create_connection((address.host, address.port), 20)) for _ in range(WORK.each)
        ]
        for holder in holders:
            holder.sendall(request)
        until(lambda: inside == 1 + WORK.each)
        with ExitStack() as vanishing:
            for _ in range(50):
                one = vanishing.enter_context(socket.create_connection((address.host, address.port), 20))
                one.sendall(request)
            until(lambda: places_of(app).work.shares.waiting == 50)
        until(lambda: places_of(app).work.shares.waiting == 0)
        go_on.set()
        for holder in holders:
            assert holder.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: is_left_empty(app))
    assert inside == 1 + WORK.each  # nothing was done for those that left
