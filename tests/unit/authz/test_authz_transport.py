"""One connection to OPA: kept alive, read to the letter, never mixing two questions up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from server.authz.contract.errors import PolicyUnavailable
from server.authz.opa.transport import TcpAddress
from tests.support.broken_opa import (
    PERMITTED,
    Peer,
    answering,
    answering_then_closing,
    chunked,
    reply,
    scripted,
    transport_to,
)

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_answer_in_chunks_is_put_together(size: int, run: Run, socket: Path | None) -> None:
    async def main() -> None:
        async with scripted(answering(chunked(PERMITTED, size)), socket) as peer, transport_to(peer.address) as opa:
            assert [await opa.exchange(b"{}") for _ in range(3)] == [PERMITTED] * 3
            assert peer.connections == 1

    run(main())


def test_an_answer_that_comes_byte_by_byte_is_put_together(run: Run, socket: Path | None) -> None:
    async def drip(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        for byte in reply(b'{"result":1}'):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async def main() -> None:
        async with scripted(drip, socket) as peer, transport_to(peer.address) as opa:
            assert await opa.exchange(b"{}") == b'{"result":1}'

    run(main())


def test_a_thousand_questions_one_after_the_other_use_one_connection(run: Run, socket: Path | None) -> None:
    async def main() -> None:
        async with scripted(answering(reply(PERMITTED)), socket) as peer, transport_to(peer.address) as opa:
            for _ in range(1000):
                await opa.exchange(b"{}")
            assert (peer.connections, len(peer.requests)) == (1, 1000)

    run(main())


def test_a_kept_alive_connection_that_was_closed_before_any_byte_is_replaced_once(
    run: Run, socket: Path | None
) -> None:
    async def one_answer_each(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(reply(PERMITTED))
        await peer.request(reader)  # and close, as if restarted at this moment

    async def main() -> None:
        async with scripted(one_answer_each, socket) as peer, transport_to(peer.address) as opa:
            assert await opa.exchange(b'{"n":1}') == PERMITTED
            assert await opa.exchange(b'{"n":2}') == PERMITTED
            assert peer.connections == 2
            assert [request.split(b"\r\n\r\n")[1] for request in peer.requests] == [
                b'{"n":1}',
                b'{"n":2}',
                b'{"n":2}',
            ]

    run(main())


def test_the_second_try_is_not_made_on_another_connection_of_the_same_age(run: Run, socket: Path | None) -> None:
    """As after a restart of OPA: every kept-alive connection is dead, whether or not that is known here."""

    async def one_answer_each(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        await peer.until(lambda: len(peer.requests) >= 2)
        writer.write(reply(PERMITTED))
        await peer.request(reader)

    async def main() -> None:
        async with scripted(one_answer_each, socket) as peer, transport_to(peer.address) as opa:
            await asyncio.gather(opa.exchange(b"{}"), opa.exchange(b"{}"))
            assert peer.connections == 2
            assert await opa.exchange(b"{}") == PERMITTED
            assert peer.connections == 3

    run(main())


def test_the_second_try_is_the_last(run: Run, socket: Path | None) -> None:
    async def answer_the_first_alone(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await peer.request(reader)
            if len(peer.requests) > 1:
                return
            writer.write(reply(PERMITTED))

    async def main() -> None:
        async with scripted(answer_the_first_alone, socket) as peer, transport_to(peer.address) as opa:
            await opa.exchange(b"{}")
            with pytest.raises(PolicyUnavailable):
                await opa.exchange(b"{}")
            assert len(peer.requests) == 3

    run(main())


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 2"])
def test_a_question_is_not_repeated_on_a_new_connection_nor_after_the_first_byte(
    begun: bytes, run: Run, socket: Path | None
) -> None:
    async def main() -> None:
        async with scripted(answering_then_closing(begun), socket) as peer, transport_to(peer.address) as opa:
            with pytest.raises(PolicyUnavailable):
                await opa.exchange(b"{}")
            assert len(peer.requests) == 1

        async def kept_alive(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await peer.request(reader)
            writer.write(reply(PERMITTED))
            await peer.request(reader)
            writer.write(b"HTTP/1.1 2")

        async with scripted(kept_alive, socket) as peer, transport_to(peer.address) as opa:
            await opa.exchange(b"{}")
            with pytest.raises(PolicyUnavailable):
                await opa.exchange(b"{}")
            assert len(peer.requests) == 2

    run(main())


def test_a_connection_that_opa_wants_closed_is_not_used_again(run: Run, socket: Path | None) -> None:
    async def main() -> None:
        polite = answering(reply(PERMITTED, headers="Connection: close\r\n"))
        async with scripted(polite, socket) as peer, transport_to(peer.address) as opa:
            assert [await opa.exchange(b"{}") for _ in range(3)] == [PERMITTED] * 3
            assert peer.connections == 3

    run(main())


def test_the_answer_to_an_abandoned_question_is_never_given_to_the_next(run: Run, socket: Path | None) -> None:
    async def slow_first(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await peer.request(reader)).split(b"\r\n\r\n", 1)[1]
            await asyncio.sleep(0.05 if len(peer.requests) == 1 else 0)
            writer.write(reply(body))

    async def main() -> None:
        async with scripted(slow_first, socket) as peer, transport_to(peer.address, connections=1) as opa:
            abandoned = asyncio.create_task(opa.exchange(b'{"n":1}'))
            await peer.until(lambda: bool(peer.requests))
            abandoned.cancel()
            assert await opa.exchange(b'{"n":2}') == b'{"n":2}'
            with pytest.raises(asyncio.CancelledError):
                await abandoned

    run(main())


def test_bytes_that_were_not_asked_for_end_the_connection_instead_of_answering_the_next_question(
    run: Run, socket: Path | None
) -> None:
    async def eager(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await peer.request(reader)).split(b"\r\n\r\n", 1)[1]
            writer.write(reply(body))
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(reply(PERMITTED))

    async def main() -> None:
        async with scripted(eager, socket) as peer, transport_to(peer.address) as opa:
            assert await opa.exchange(b'{"n":1}') == b'{"n":1}'
            await peer.until(lambda: not peer.open)
            assert await opa.exchange(b'{"n":2}') == b'{"n":2}'
            assert peer.connections == 2

    run(main())


def test_one_path_one_method_and_a_token_over_tcp_only_if_there_is_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def main() -> None:
        async with scripted(answering(reply(PERMITTED)), None) as peer:
            assert isinstance(peer.address, TcpAddress)
            with_token = TcpAddress(peer.address.host, peer.address.port, "s3cret")
            for address in (peer.address, with_token):
                async with transport_to(address) as opa:
                    await opa.exchange(b"{}")
        plain, authorized = [request.split(b"\r\n") for request in peer.requests]
        assert plain[0] == b"POST /v1/data/ostiary/decision/answer?strict-builtin-errors=true HTTP/1.1"
        assert plain[1] == f"Host: 127.0.0.1:{peer.address.port}".encode()
        assert [line for line in authorized if line not in plain] == [b"Authorization: Bearer s3cret"]

    run(main())


@pytest.mark.parametrize("token", ["a\r\nX-Injected: 1", "a b", "\u00e9", "a\x00"])
def test_a_token_that_is_no_header_value_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ascii"):
        TcpAddress("127.0.0.1", 8181, token)
