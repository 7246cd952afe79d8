"""The pool of connections: bounded, fair to those who wait, and leaking nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.opa.transport import OpaTransport, UnixAddress
from tests.support.broken_opa import PERMITTED, Peer, reply, scripted, transport_to
from tests.support.patience import PATIENCE

Run = Callable[[Coroutine[Any, Any, None]], None]


async def counting(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its own body, a little later."""
    while True:
        body = (await peer.request(reader)).split(b"\r\n\r\n", 1)[1]
        await asyncio.sleep(0.002)
        writer.write(reply(body))


def test_every_question_gets_its_own_answer_over_a_bounded_number_of_connections(run: Run, socket: Path | None) -> None:
    async def main() -> None:
        async with (
            scripted(counting, socket) as peer,
            transport_to(peer.address, connections=4, deadline=10) as opa,
        ):
            bodies = [b'{"n":%d}' % number for number in range(200)]
            assert await asyncio.gather(*[opa.exchange(body) for body in bodies]) == bodies
            assert peer.most_open == 4
            assert peer.connections == 4

    run(main())


@pytest.mark.alone
def test_waiting_for_a_connection_counts_towards_the_deadline(run: Run, socket: Path | None) -> None:
    async def mute(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with (
            scripted(mute, socket) as peer,
            transport_to(peer.address, connections=1, deadline=0.3) as opa,
        ):
            began = time.perf_counter()
            outcomes = await asyncio.gather(*[opa.exchange(b"{}") for _ in range(5)], return_exceptions=True)
            # One after another they would take five deadlines.
            assert time.perf_counter() - began < 3 * 0.3
            failures = [outcome.failure for outcome in outcomes if isinstance(outcome, PolicyUnavailable)]
            assert failures == [Failure.DEADLINE] * 5

    run(main())


def test_a_freed_place_is_given_to_the_one_that_waits(run: Run, socket: Path | None) -> None:
    """The first question breaks the only connection; the second one needs a new one, and gets it."""

    async def break_the_first(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(reply(PERMITTED, "500 Internal Server Error") if len(peer.requests) == 1 else reply(PERMITTED))
        await reader.read()

    async def main() -> None:
        async with (
            scripted(break_the_first, socket) as peer,
            transport_to(peer.address, connections=1, deadline=2 * PATIENCE) as opa,
        ):
            outcomes = await asyncio.gather(opa.exchange(b"{}"), opa.exchange(b"{}"), return_exceptions=True)
            assert isinstance(outcomes[0], PolicyUnavailable)
            assert outcomes[1] == PERMITTED
            assert peer.connections == 2

    run(main())


def test_a_connection_given_to_one_that_gave_up_goes_to_the_next(run: Run, socket: Path | None) -> None:
    async def main() -> None:
        async with (
            scripted(counting, socket) as peer,
            transport_to(peer.address, connections=1, deadline=2 * PATIENCE) as opa,
        ):

            async def first() -> None:
                await opa.exchange(b"1")
                second.cancel()  # which was given the connection just now, and has not run since

            tasks = [asyncio.create_task(first())]
            await peer.until(lambda: bool(peer.requests))
            second = asyncio.create_task(opa.exchange(b"2"))
            third = asyncio.create_task(opa.exchange(b"3"))
            await asyncio.gather(*tasks)
            async with asyncio.timeout(PATIENCE):
                assert await third == b"3"
                assert await opa.exchange(b"4") == b"4"
            assert second.cancelled()
            assert (peer.connections, len(peer.requests)) == (1, 3)

    run(main())


def test_those_who_wait_for_a_connection_that_can_not_be_made_fail_as_soon_as_it_does(
    run: Run, socket: Path | None
) -> None:
    async def closing_at_once(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async def main() -> None:
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with scripted(closing_at_once, socket) as peer:
            pass
        for address in (peer.address, UnixAddress(Path("/nonexistent"))):
            async with transport_to(address, connections=1, deadline=2 * PATIENCE) as opa, asyncio.timeout(PATIENCE):
                outcomes = await asyncio.gather(*[opa.exchange(b"{}") for _ in range(5)], return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [PolicyUnavailable] * 5
        async with scripted(closing_at_once, socket) as peer, transport_to(peer.address, connections=1) as opa:
            outcomes = await asyncio.gather(*[opa.exchange(b"{}") for _ in range(5)], return_exceptions=True)
            assert all(isinstance(outcome, PolicyUnavailable) for outcome in outcomes)
        assert errors == []

    run(main())


def test_cancelled_waiters_lose_no_connection(run: Run, socket: Path | None) -> None:
    async def main() -> None:
        async with (
            scripted(counting, socket) as peer,
            transport_to(peer.address, connections=2, deadline=2 * PATIENCE) as opa,
        ):
            for _ in range(20):
                tasks = [asyncio.create_task(opa.exchange(b"%d" % number)) for number in range(10)]
                await asyncio.sleep(0.003)
                for task in tasks[::2]:
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                assert outcomes[1::2] == [b"%d" % number for number in range(1, 10, 2)]
            assert peer.most_open <= 3  # one that was closed here may still be open there

    run(main())


def test_closing_fails_the_questions_under_way_and_those_that_wait(run: Run, socket: Path | None) -> None:
    async def one_answer(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(reply(PERMITTED))
        await peer.request(reader)
        await reader.read()

    async def main() -> None:
        async with scripted(one_answer, socket) as peer:
            opa = OpaTransport(peer.address, deadline=2 * PATIENCE, connections=1)
            await opa.exchange(b"{}")
            asking = [asyncio.create_task(opa.exchange(b"{}")) for _ in range(3)]
            await peer.until(lambda: len(peer.requests) == 2)
            opa.close()
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [PolicyUnavailable] * 3
            assert (peer.connections, len(peer.requests)) == (1, 2)

    run(main())


def test_a_pool_beside_waits_for_no_place_of_the_first_and_closes_with_it(run: Run, socket: Path | None) -> None:
    async def mute(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        if len(peer.requests) == 2:
            writer.write(reply(PERMITTED))
        await reader.read()

    async def main() -> None:
        async with (
            scripted(mute, socket) as peer,
            transport_to(peer.address, connections=1, deadline=20) as opa,
        ):
            beside, hasty = opa.beside(connections=1), opa.beside(connections=1, deadline=0.05)
            first = asyncio.create_task(opa.exchange(b"{}"))
            await peer.until(lambda: len(peer.requests) == 1)
            assert await beside.exchange(b"{}") == PERMITTED
            with pytest.raises(PolicyUnavailable) as late:
                await hasty.exchange(b"{}")
            assert late.value.failure is Failure.DEADLINE
            opa.close()
            await peer.until(lambda: peer.open == 0)
            for closed in (opa, beside, hasty):
                with pytest.raises(PolicyUnavailable) as refused:
                    await closed.exchange(b"{}")
                assert refused.value.failure is Failure.CLOSED
            await asyncio.gather(first, return_exceptions=True)

    run(main())
