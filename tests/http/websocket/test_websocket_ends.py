"""The ends of WebSockets: a token that is over, a client that has gone, nothing to do, a server that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from json import loads
from pathlib import Path

import pytest
from starlette.types import Scope
from wsproto.frame_protocol import Frame

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed
from server.config import Config
from server.http.cors import Cors, CorsPolicy
from server.http.websocket import protocol
from server.http.websocket.frames import PIECE, SMALL, FrameReader
from server.wiring import application
from tests.support.application import AlwaysReady, ByToken
from tests.support.callers import ALICE
from tests.support.real_policy import read
from tests.support.relay_server import configuration
from tests.support.responses_server import script
from tests.support.serving import Address, serving
from tests.support.socket_client import Socket, frame, opened, refused
from tests.support.unsafe_policy import UnsafePermitAll

SLOW = script(content="a b c d", delay_ms=60)


class Ending(ByToken):
    """Knows callers by their tokens, until these are over."""

    is_over = False

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal, unless the token is over."""
        if self.is_over:
            raise AuthenticationFailed("the token is over")
        return await super().authenticate(token, request)


@pytest.fixture
def tokens() -> Ending:
    return Ending()


@pytest.fixture
def address(tokens: Ending, tmp_path: Path) -> Iterator[Address]:
    app = application.build(_config(tmp_path), UnsafePermitAll(), tokens, AlwaysReady())
    with serving(app, cors=Cors(CorsPolicy.localhost())) as running:
        yield running


def _config(folder: Path) -> Config:
    echo = "{provider_id: p, provider_type: inline::echo}"
    return read(configuration(folder, echo, "- {model_id: small, provider_id: p}"))


def ask(socket: Socket, text: str) -> None:
    socket.create(text, store=False)


def test_a_message_with_a_token_that_is_over_is_refused_and_the_last_one(address: Address, tokens: Ending) -> None:
    with opened(address, ALICE) as socket:
        tokens.is_over = True
        ask(socket, "hi")
        error = socket.event()
        assert (error["type"], error["status"]) == ("error", 401)
        assert socket.closed() == 4401


def test_a_connection_ends_with_its_token(address: Address, tokens: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_SECONDS", 0.3)
    with opened(address, ALICE) as socket:
        assert socket.next() == (9, b"")
        socket.send(frame(10, b""))
        tokens.is_over = True
        assert socket.closed() == 4401


def test_a_response_that_has_begun_is_finished_first(
    address: Address, tokens: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LOOK_SECONDS", 0.15)
    with opened(address, ALICE) as socket:
        ask(socket, SLOW)
        kinds = [socket.event()["type"]]
        tokens.is_over = True
        while kinds[-1] != "response.completed":
            op, data = socket.next()
            socket.send(frame(10, b""))
            kinds += [] if op == 9 else [loads(data)["type"]]
        assert socket.closed() == 4401


def test_a_client_that_answers_no_ping_is_cut(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_SECONDS", 0.05)
    with opened(address, ALICE) as socket:
        assert -1 in [socket.next()[0] for _ in range(6)]


def test_a_connection_without_work_is_closed(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.01)
    with opened(address, ALICE) as socket:
        assert socket.closed() == 1001


def test_a_message_must_come_in_time(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.05)
    with opened(address, ALICE) as socket:
        socket.send(frame(1, b'{"type":', last=False))
        assert socket.closed() == 1008


def test_room_for_large_messages_is_shared(address: Address) -> None:
    half = frame(1, b"x" * (9 * 1024 * 1024))[:-10]
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(opened(address, ALICE)).send(half)
        ask_other(address)
        fifth = stack.enter_context(opened(address, ALICE))
        with suppress(ConnectionError):
            fifth.send(half)
        assert fifth.closed() in (0, 1013)
        ask_other(address)


def test_what_comes_is_read_in_short_turns(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, int]] = []
    feed = FrameReader.feed

    def noted(reader: FrameReader, data: bytes) -> Iterator[Frame]:
        fed.append((len(data), reader.at_once))
        return feed(reader, data)

    monkeypatch.setattr(FrameReader, "feed", noted)
    crumbs = frame(1, b"", last=False) + frame(0, b"", last=False) * 1000
    with opened(address, ALICE) as socket:
        socket.send(crumbs + frame(0, b"x" * 1_000_000))
        assert socket.event()["status"] == 400
    assert all(size <= at_once for size, at_once in fed), fed
    assert {SMALL, PIECE} <= {size for size, _ in fed}


def ask_other(address: Address) -> None:
    with opened(address, "Authorization: Bearer bob") as other:
        ask(other, "hi")
        assert other.events()[-1]["type"] == "response.completed"


def test_pages_that_may_call_may_open_a_websocket(address: Address) -> None:
    with opened(address, ALICE, "Origin: http://localhost:3000") as socket:
        ask(socket, "hi")
        assert socket.events()[-1]["type"] == "response.completed"
    for origins in (("Origin: https://evil.example",), ("Origin: http://localhost", "Origin: http://localhost")):
        assert refused(address, ALICE, *origins).status == 403


def test_a_server_that_ends_says_so(tokens: Ending, tmp_path: Path) -> None:
    app = application.build(_config(tmp_path), UnsafePermitAll(), tokens, AlwaysReady())
    with serving(app) as address:
        idle, busy = opened(address, ALICE), opened(address, ALICE)
        first, second = idle.__enter__(), busy.__enter__()
        ask(second, SLOW)
        second.event()
    assert first.closed() == 1012
    assert second.events()[-1]["type"] == "response.completed"
    assert second.closed() == 1012
