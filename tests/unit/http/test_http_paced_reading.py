"""What connections have read: it is parsed in pieces, in the turns of their callers, and bounded by that."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count, pairwise
from sys import getrefcount

import pytest

from server.http import paced_reading as subject
from server.http.paced_reading import AT_ONCE, PIECE, PIECES, SMALL, PacedReading, ReadingTurns
from tests.support.patience import PATIENCE

READ = 256 * 1024
"""Bytes that one read brings at most."""


class Connection(asyncio.Transport):
    """A connection that notes whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read, self.is_closed = True, False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_closed
        self.is_read = True

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True


class Parsing:
    """Notes what is parsed, and in which turn of the event loop; `on_piece` is called with each piece."""

    def __init__(self, turns: ReadingTurns, *caller: str) -> None:
        self.connection, self.parsed, self.turns = Connection(), list[bytes](), list[int]()
        self.on_piece: Callable[[bytes], object] = len
        self.reading = PacedReading(self.connection, turns, caller, self._parse)

    def _parse(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.parsed.append(data)
        self.turns.append(TURN[0])
        self.on_piece(data)


TURN = [0]


def in_a_loop(work: Callable[[ReadingTurns], Awaitable[None]]) -> None:
    """Run it on an event loop whose turns are counted."""

    async def number() -> None:
        while True:
            TURN[0] += 1
            await asyncio.sleep(0)

    async def run() -> None:
        counting = asyncio.ensure_future(number())
        async with asyncio.timeout(PATIENCE):
            await work(ReadingTurns())
        counting.cancel()

    asyncio.run(run())


async def all_parsed(*readers: Parsing) -> None:
    while not all(each.connection.is_read for each in readers):  # noqa: ASYNC110 - its end is not announced
        await asyncio.sleep(0)


def one_piece_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each piece take the whole time of its turn."""
    now = count()
    monkeypatch.setattr(subject, "monotonic", lambda: 2 * next(now) * subject.STEP_SECONDS)


def numbered(size: int) -> bytes:
    """Bytes of which no piece looks like another."""
    return b"".join(b"%08d" % number for number in range(size // 8))


@pytest.mark.parametrize("size", [8, SMALL, SMALL + 8, PIECE, PIECE + 8, READ])
def test_all_is_parsed_once_and_in_order(size: int) -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        for _ in range(3):
            one.reading.take(numbered(size))
            await all_parsed(one)
        assert b"".join(one.parsed) == numbered(size) * 3
        assert max(map(len, one.parsed)) <= PIECE

    in_a_loop(work)


def test_nothing_is_read_while_something_is_to_be_parsed() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        one.on_piece = lambda _: seen.append(one.connection.is_read)
        seen = list[bool]()
        one.reading.take(numbered(READ))
        assert not one.connection.is_read
        one.reading.take(b"more that was on its way")
        await all_parsed(one)
        assert set(seen) == {False}
        assert b"".join(one.parsed) == numbered(READ) + b"more that was on its way"

    in_a_loop(work)


def test_a_turn_of_the_event_loop_parses_for_few_connections_and_for_one_of_a_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_piece_in_a_turn(monkeypatch)

    async def work(turns: ReadingTurns) -> None:
        greedy = [Parsing(turns, "greedy") for _ in range(64)]
        for each in greedy:
            each.reading.take(numbered(READ))
        await asyncio.sleep(0.01)
        modest = Parsing(turns, "modest")
        began = TURN[0]
        modest.reading.take(numbered(PIECE + 8))
        await all_parsed(modest)
        assert TURN[0] - began <= 4
        others = [Parsing(turns, f"other {number}") for number in range(64)]
        for each in others:
            each.reading.take(numbered(2 * PIECE))
        await all_parsed(*greedy, *others)
        of_greedy = sorted(turn for each in greedy for turn in each.turns)
        assert all(later > earlier for earlier, later in pairwise(of_greedy))
        assert max(Counter(turn for each in others for turn in each.turns).values()) <= AT_ONCE

    in_a_loop(work)


def test_a_turn_of_the_event_loop_parses_few_pieces_of_a_caller_however_quickly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "monotonic", lambda: 0.0)

    async def work(turns: ReadingTurns) -> None:
        greedy = [Parsing(turns, "greedy") for _ in range(64)]
        for each in greedy:
            each.reading.take(numbered(READ))
        await all_parsed(*greedy)
        assert max(Counter(turn for each in greedy for turn in each.turns).values()) == PIECES

    in_a_loop(work)


def test_the_connections_of_one_caller_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    one_piece_in_a_turn(monkeypatch)

    async def work(turns: ReadingTurns) -> None:
        many = [Parsing(turns, "greedy") for _ in range(16)]
        for each in many:
            each.reading.take(numbered(READ))
        await asyncio.sleep(0)
        short = Parsing(turns, "greedy")
        short.reading.take(numbered(PIECE + 8))
        await all_parsed(short)
        assert max(len(each.parsed) for each in many) <= 4
        await all_parsed(*many)

    in_a_loop(work)


def test_what_the_application_has_not_taken_is_not_parsed() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        one.on_piece = lambda _: one.reading.pause_reading()
        one.reading.take(numbered(READ))
        for number in range(1, READ // PIECE + 1):
            await asyncio.sleep(0.001)
            assert len(one.parsed) == number
            assert not one.connection.is_read
            one.reading.resume_reading()
        await all_parsed(one)
        assert b"".join(one.parsed) == numbered(READ)

    in_a_loop(work)


def test_pausing_and_going_on_while_a_turn_is_waited_for_parses_nothing_twice() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        one.reading.take(numbered(READ))
        for _ in range(3):
            one.reading.pause_reading()
            one.reading.resume_reading()
        await all_parsed(one)
        assert b"".join(one.parsed) == numbered(READ)

    in_a_loop(work)


def test_nothing_is_parsed_after_the_end() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        left = list[bytes]()
        one.on_piece = lambda _: left.append(one.reading.end())
        one.reading.take(numbered(READ))
        await asyncio.sleep(0.01)
        assert b"".join([*one.parsed, *left]) == numbered(READ)
        assert (len(one.parsed), one.connection.is_read) == (1, False)

    in_a_loop(work)


def test_nothing_is_parsed_of_a_connection_that_is_closed() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        one.on_piece = lambda _: one.connection.abort()
        one.reading.take(numbered(READ))
        await asyncio.sleep(0.01)
        assert len(one.parsed) == 1

    in_a_loop(work)


def test_a_fault_of_one_connection_ends_it_and_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def work(turns: ReadingTurns) -> None:
        bad, good = Parsing(turns, "ann"), Parsing(turns, "ann")
        bad.on_piece = {}.__getitem__
        bad.reading.take(numbered(READ))
        good.reading.take(numbered(READ))
        await all_parsed(good)
        assert b"".join(good.parsed) == numbered(READ)
        assert (len(bad.parsed), bad.connection.is_closed) == (1, True)

    in_a_loop(work)
    assert "a request can't be read: KeyError" in caplog.text


def test_what_is_parsed_is_held_no_longer() -> None:
    async def work(turns: ReadingTurns) -> None:
        one, data = Parsing(turns, "ann"), numbered(READ)
        before = getrefcount(data)
        one.reading.take(data)
        await all_parsed(one)
        assert getrefcount(data) == before

    in_a_loop(work)


def test_a_connection_is_not_held_after_its_end() -> None:
    async def work(turns: ReadingTurns) -> None:
        one = Parsing(turns, "ann")
        one.reading.take(numbered(READ))
        await asyncio.sleep(0)
        one.reading.end()
        await asyncio.sleep(0.01)
        ended = weakref.ref(one)
        del one
        assert ended() is None

    gc.disable()  # it may hold large buffers, which are to go at once
    try:
        in_a_loop(work)
    finally:
        gc.enable()
