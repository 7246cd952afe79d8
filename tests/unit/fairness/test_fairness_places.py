"""Places of requests, and pieces of streams: how many of a caller one turn of the event loop works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps

import pytest

from server.fairness import places
from server.fairness.caller import CURRENT, Caller
from server.fairness.known_tokens import MAX_KNOWN, KnownTokens
from server.fairness.places import HELD, WORK, Pieces, Place, Room, leave_place, without_place
from server.fairness.shares import NoRoom, Share
from tests.support.patience import PATIENCE

GREEDY: Caller = ("principal", "issuer", "greedy")
MODEST: Caller = ("principal", "issuer", "modest")
SMALL = Share("things", 4, 2, waiting=100, waiting_each=50, seconds=5.0)


def in_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**fixtures: pytest.MonkeyPatch) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 30))

    return run


def is_empty(room: Room) -> bool:
    return (room.shares.used, room.shares.waiting, len(room.shares._holders)) == (0, 0, 0)


async def turns_of_the_loop(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_a_loop
async def test_work_that_never_waits_is_bounded_in_each_turn_of_the_loop() -> None:
    room, done, most, turn = Room(SMALL), 0, 0, 0

    async def request(caller: Caller) -> None:
        nonlocal done
        place = Place(room, caller)
        if not place.take_now():
            await place.take()
        done += 1
        place.leave()

    tasks = [asyncio.create_task(request(GREEDY)) for _ in range(40)]
    while done < 40:
        before = done
        await asyncio.sleep(0)
        turn, most = turn + 1, max(most, done - before)
    assert most <= SMALL.each
    await asyncio.gather(*tasks)
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_another_callers_request_waits_for_those_under_way_alone() -> None:
    room, order = Room(SMALL), list[Caller]()

    async def request(caller: Caller) -> None:
        place = Place(room, caller)
        if not place.take_now():
            await place.take()
        order.append(caller)
        await asyncio.sleep(0)
        place.leave()

    greedy = [asyncio.create_task(request(GREEDY)) for _ in range(40)]
    await asyncio.sleep(0)
    await asyncio.gather(request(MODEST), *greedy)
    assert order.index(MODEST) <= SMALL.each


@in_a_loop
async def test_a_place_whose_request_waits_for_something_else_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LAPSE_SECONDS", 0.02)
    room = Room(SMALL)
    slow = [Place(room, GREEDY) for _ in range(SMALL.each)]
    assert all(place.take_now() for place in slow)
    next_one = Place(room, GREEDY)
    assert not next_one.take_now()
    async with asyncio.timeout(PATIENCE):
        await next_one.take()
    for place in (*slow, next_one):
        place.leave()
        place.leave()
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_a_caller_works_on_fewer_requests_while_another_one_is_there() -> None:
    room = Room(WORK)
    other = Place(room, MODEST)
    assert other.take_now()
    places_of_greedy = [Place(room, GREEDY) for _ in range(WORK.each)]
    assert [place.take_now() for place in places_of_greedy].count(True) == WORK.beside == 2
    other.leave()
    await turns_of_the_loop()
    assert [place.take_now() for place in places_of_greedy[2:]] == [True, True]


@in_a_loop
async def test_one_piece_of_a_caller_passes_in_one_turn_of_the_loop() -> None:
    pieces = Pieces()
    assert [pieces.pass_now(GREEDY), pieces.pass_now(GREEDY), pieces.pass_now(MODEST)] == [True, False, True]
    await turns_of_the_loop()
    assert pieces.pass_now(GREEDY)


@in_a_loop
async def test_a_place_that_is_held_for_long_keeps_no_later_ones_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LAPSE_SECONDS", 0.01)
    room = Room(SMALL)
    assert room.take_now(GREEDY) is not None  # and its reader reads nothing
    await asyncio.sleep(0.02)
    for _ in range(100):
        turn = room.take_now(MODEST)
        assert turn is not None
        turn.end()
    assert len(room._held) <= 2


@in_a_loop
async def test_a_place_is_given_up_for_a_while_and_for_good() -> None:
    room = Room(SMALL)
    place = Place(room, GREEDY)
    place.take_now()
    HELD.set(place)
    async with without_place():
        await turns_of_the_loop()
        assert room.shares.used == 0
    assert room.shares.used == 1
    leave_place()
    await turns_of_the_loop()
    assert is_empty(room)
    async with without_place():
        assert room.shares.used == 0
    assert is_empty(room)  # a place that was given up for good is not taken again
    HELD.set(None)
    leave_place()
    async with without_place():
        pass


@in_a_loop
async def test_a_place_passes_from_an_address_to_a_principal() -> None:
    room = Room(SMALL)
    place = Place(room, ("address", "192.0.2.1"))
    place.take_now()
    assert place.pass_to(place.caller)
    assert place.pass_to(MODEST)
    await turns_of_the_loop()
    assert (place.caller, room.shares.used, len(room.shares._holders)) == (MODEST, 1, 1)
    place.leave()
    assert place.pass_to(MODEST)  # one that was left is taken again, though the caller is the same
    place.leave()
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_those_that_leave_the_queue_leave_nothing_behind() -> None:
    room = Room(SMALL)
    holders = [Place(room, GREEDY) for _ in range(SMALL.each)]
    assert all(place.take_now() for place in holders)
    waiting = [asyncio.create_task(Place(room, GREEDY).take()) for _ in range(20)]
    await asyncio.sleep(0)
    assert room.shares.waiting == 20
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for place in holders:
        place.leave()
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_ten_thousand_principals_at_once_are_all_served() -> None:
    room, served = Room(WORK), 0

    async def request(number: int) -> None:
        nonlocal served
        place = Place(room, ("principal", "issuer", str(number)))
        if not place.take_now():
            await place.take()
        served += 1
        place.leave()

    await asyncio.gather(*(request(number) for number in range(10_000)))
    assert served == 10_000
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_more_than_may_wait_are_refused_at_once() -> None:
    room = Room(Share("things", 1, 1, waiting=2, waiting_each=1, seconds=5.0))
    holder = Place(room, MODEST)
    assert holder.take_now()
    waiting = asyncio.create_task(Place(room, GREEDY).take())
    await asyncio.sleep(0)
    with pytest.raises(NoRoom) as refused:
        await Place(room, GREEDY).take()
    assert refused.value.of_caller
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    holder.leave()
    await turns_of_the_loop()
    assert is_empty(room)


@in_a_loop
async def test_one_turn_of_the_loop_passes_on_few_pieces_of_a_caller() -> None:
    pieces, passed, most = Pieces(SMALL), 0, 0

    async def stream() -> None:
        nonlocal passed
        CURRENT.set(GREEDY)
        for _ in range(10):
            await pieces.pass_on()
            passed += 1

    tasks = [asyncio.create_task(stream()) for _ in range(40)]
    while passed < 400:
        before = passed
        await asyncio.sleep(0)
        most = max(most, passed - before)
    await asyncio.gather(*tasks)
    assert most <= SMALL.each
    await turns_of_the_loop()
    assert (pieces.shares.used, pieces.shares.waiting, len(pieces.shares._holders)) == (0, 0, 0)


def test_the_tokens_that_came_last_are_known() -> None:
    known = KnownTokens()
    for number in range(MAX_KNOWN + 1):
        known.remember(b"%d" % number, MODEST)
    assert (known.caller(b"0"), known.caller(b"1")) == (None, MODEST)
    known.forget(b"1")
    known.forget(b"1")
    assert known.caller(b"1") is None


def test_a_caller_with_many_tokens_makes_none_of_another_unknown() -> None:
    """A token that is not known waits in the line of its address, behind whatever else comes from there."""
    known = KnownTokens()
    known.remember(b"modest", MODEST)
    for number in range(MAX_KNOWN + 1):
        known.remember(b"%d" % number, GREEDY)
    assert (known.caller(b"modest"), known.caller(b"0")) == (MODEST, None)


def test_a_token_in_use_stays_known_and_belongs_to_its_latest_caller() -> None:
    known = KnownTokens()
    known.remember(b"first", MODEST)
    for number in range(MAX_KNOWN - 1):
        known.remember(b"%d" % number, MODEST)
    known.remember(b"first", MODEST)
    known.remember(b"new", MODEST)
    assert (known.caller(b"first"), known.caller(b"0")) == (MODEST, None)
    known.remember(b"first", GREEDY)
    assert known.caller(b"first") == GREEDY
