"""Connections: how many one address may have, and that none is counted when it has ended."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from uvicorn.server import ServerState

from server.fairness.caller import Caller
from server.fairness.shares import Share, Turn
from server.http.protocol import HttpProtocol
from server.http.protocol_config import http_protocol
from server.net.client_address import ClientAddresses
from server.process import connections
from server.process.acceptor import Acceptor
from server.process.connections import PART_OF_AN_ADDRESS, Connections
from tests.support.certificate import certificate
from tests.support.patience import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EACH = 2
CROWD = 64


@asynccontextmanager
async def accepting(
    trusted: tuple[str, ...] = (), tls: ssl.SSLContext | None = None, *, workers: int = 1
) -> AsyncIterator[tuple[int, Connections]]:
    config = http_protocol(PlainTextResponse("here"), lambda reason: None, log_config=None)
    config.load()
    room = Connections(ClientAddresses(trusted))
    state = ServerState()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, lambda: HttpProtocol(config, state, {}), tls, room, workers=workers)
        acceptor.start()
        try:
            yield listener.getsockname()[1], room
        finally:
            acceptor.close()
            for connection in list(state.connections):
                connection.shutdown()


async def ask(port: int, source: str = "127.0.0.1") -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(REQUEST)
        return await reader.read(15), writer
    except ConnectionError:
        return b"", writer


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_has_a_part_of_the_connections_and_another_one_its_own(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", EACH * PART_OF_AN_ADDRESS)

    async def run() -> None:
        async with accepting(workers=workers) as (port, room), asyncio.timeout(PATIENCE):
            greedy = [await ask(port) for _ in range(EACH)]
            assert [answer for answer, _ in greedy] == [b"HTTP/1.1 200 OK"] * EACH
            for _ in range(100):
                answer, refused = await ask(port)
                assert answer == b""
                refused.close()
            answer, modest = await ask(port, "127.0.0.2")
            assert answer == b"HTTP/1.1 200 OK"
            assert room.open.used == EACH + 1
            for _, writer in greedy:
                writer.close()
            while room.open.used > 1:  # noqa: ASYNC110 - the end of a connection is not announced
                await asyncio.sleep(0.01)
            answer, again = await ask(port)
            assert answer == b"HTTP/1.1 200 OK"
            again.close()
            modest.close()
            while room.open.used:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            assert room.open._holders == {}

    asyncio.run(run())


def test_a_connection_that_its_client_has_closed_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    async def run() -> None:
        nonlocal made
        async with accepting() as (port, room), asyncio.timeout(PATIENCE):
            taken = room.one_more

            def counted(caller: Caller) -> Turn | None:
                nonlocal made
                made += 1
                return taken(caller)

            monkeypatch.setattr(room, "one_more", counted)
            # Nothing is awaited, so that all of them lie in the kernel's queue before the first one is accepted.
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", port)) as left:
                    left.sendall(REQUEST)
            answer, writer = await ask(port)
            assert answer == b"HTTP/1.1 200 OK"
            writer.close()

    asyncio.run(run())
    assert made == 1


def test_what_a_connection_sends_is_parsed_in_the_turns_of_its_address() -> None:
    async def run() -> None:
        config = http_protocol(PlainTextResponse("here"), lambda reason: None, log_config=None)
        config.load()
        made = list[HttpProtocol]()

        def protocol() -> HttpProtocol:
            made.append(HttpProtocol(config, ServerState(), {}))
            return made[-1]

        room = Connections(ClientAddresses(["127.0.0.3"]))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            acceptor = Acceptor(listener, protocol, None, room)
            acceptor.start()
            async with asyncio.timeout(PATIENCE):
                for source in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.3"):
                    (await ask(listener.getsockname()[1], source))[1].close()
            acceptor.close()
        one, other, again, *proxied = (each.caller for each in made)
        assert (one, other, again) == (("address", "127.0.0.1"), ("address", "127.0.0.2"), one)
        # The clients behind a proxy are not known yet, and share no turns.
        assert len({one, other, *proxied}) == 4

    asyncio.run(run())


def test_a_crowd_is_taken_in_a_few_turns_and_shared_by_processes() -> None:
    async def run(acceptors: int, crowd: int = CROWD) -> tuple[list[int], int]:
        config = http_protocol(PlainTextResponse("here"), lambda reason: None, log_config=None)
        config.load()
        state, rooms, turns = ServerState(), [Connections(ClientAddresses(())) for _ in range(acceptors)], 0
        with ExitStack() as open_sockets:
            listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            # Nothing is awaited, so that all of them lie in the kernel's queue before the first one is accepted.
            for _ in range(crowd):
                open_sockets.enter_context(socket.create_connection(listener.getsockname()))
            for room in rooms:
                shared = open_sockets.enter_context(listener.dup())  # as another process has it
                acceptor = Acceptor(shared, lambda: HttpProtocol(config, state, {}), None, room, workers=acceptors)
                acceptor.start()
                open_sockets.callback(acceptor.close)
            async with asyncio.timeout(PATIENCE):
                while sum(room.open.used for room in rooms) < crowd:
                    # Two milliseconds are the turn of a busy event loop.
                    await asyncio.sleep(0.002)
                    turns += 1
            for connection in list(state.connections):
                connection.shutdown()
            return [room.open.used for room in rooms], turns

    [taken], turns = asyncio.run(run(1))
    assert taken == CROWD
    assert turns <= CROWD / 8
    both, turns = asyncio.run(run(2))
    assert min(both) >= CROWD / 4
    assert turns <= CROWD / 4
    # So few could be taken by one of them in a single turn.
    both, _ = asyncio.run(run(2, CROWD // 4))
    assert min(both) >= CROWD / 16


def test_a_trusted_proxy_may_have_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", EACH * PART_OF_AN_ADDRESS)

    async def run() -> None:
        async with accepting(("127.0.0.0/8",)) as (port, _), asyncio.timeout(PATIENCE):
            most = [await ask(port) for _ in range(EACH * PART_OF_AN_ADDRESS)]
            assert {answer for answer, _ in most} == {b"HTTP/1.1 200 OK"}
            answer, refused = await ask(port)
            assert answer == b""
            for writer in (refused, *(writer for _, writer in most)):
                writer.close()

    asyncio.run(run())


def test_handshakes_that_are_never_finished_stop_no_other_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKES", Share("new connections", 4, 2, 64, 64, seconds=15.0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    client = ssl.create_default_context(cafile=tmp_path / "upstream.pem")
    client.check_hostname = False

    async def run() -> None:
        async with accepting(tls=context) as (port, room), asyncio.timeout(PATIENCE):
            mute = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
            while room.handshakes.waiting < 8:  # noqa: ASYNC110 - a handshake that waits is not announced
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0), ssl=client)
            writer.write(REQUEST)
            assert await reader.read(15) == b"HTTP/1.1 200 OK"
            writer.close()
            for _, one in mute:
                one.close()
            while room.open.used or room.handshakes.used or room.handshakes.waiting:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    asyncio.run(run())
