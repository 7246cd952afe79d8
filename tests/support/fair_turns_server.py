"""A server whose answers to a greedy caller are counted while a modest one waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.fairness.places import Places
from server.http.fair_turns import FairTurns
from tests.support.patience import PATIENCE
from tests.support.serving import Address, is_whole

CONNECTIONS = 64
MODEST = "127.0.0.2"
"""The address of the modest caller; the greedy one is at 127.0.0.1."""

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
    expires = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < expires
        time.sleep(0.01)


def is_left_empty(app: Starlette) -> bool:
    places = places_of(app)
    rooms = (places.work.shares, places.probes.shares, places.pieces.shares)
    return all((shares.used, shares.waiting, len(shares._holders)) == (0, 0, 0) for shares in rooms)


def ask(address: Address, request: bytes, source: str = MODEST) -> bytes:
    with socket.create_connection((address.host, address.port), PATIENCE, (source, 0)) as connection:
        connection.sendall(request)
        answer = b""
        while not is_whole(answer, False):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
        return answer
