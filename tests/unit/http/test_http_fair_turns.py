"""Requests in turns within one event loop: which place a request has, and when it gives that up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.fairness.outgoing import UNCOUNTED, hold
from server.fairness.places import PIECES, WORK, Place, Room
from server.fairness.shares import NoRoom, Share, Turn
from server.http.answer_room import AnswerRoom
from server.http.fair_turns import FairTurns, RequestTurn
from server.http.request_ids import RequestIds
from server.http.request_state import state_of
from server.quota.admission import unlimited

CALLER = ("address", "192.0.2.1")
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PIECE: Message = {"type": "http.response.body", "body": b"a", "more_body": True}


def in_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))

    return run


def at(path: str) -> Scope:
    head = {"method": "GET", "path": path, "scheme": "http", "headers": []}
    return {"type": "http", **head, "client": (CALLER[1], 1)}


async def nothing_more() -> Message:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def asked(turns: FairTurns, path: str = "/v1/models", receive: Receive = nothing_more) -> list[Message]:
    """What is sent in answer to one request."""
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    await RequestIds(turns)(at(path), receive, send)
    return sent


async def turns_of_the_loop(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_a_loop
async def test_probes_have_places_of_their_own() -> None:
    used = dict[str, tuple[int, int]]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        used[scope["path"]] = (turns._places.work.shares.used, turns._places.probes.shares.used)

    turns = FairTurns(app, unlimited())
    for path in ("/v1/models", "/v1/health"):
        await asked(turns, path)
        await turns_of_the_loop()
    assert used == {"/v1/models": (1, 0), "/v1/health": (0, 1)}


@in_a_loop
async def test_a_stream_gives_its_place_up_at_its_first_piece() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        assert turns._places.work.shares.used == 1
        await send(PIECE)
        await turns_of_the_loop()
        assert turns._places.work.shares.used == 0

    turns = FairTurns(app, unlimited())
    assert await asked(turns) == [START, PIECE]


def a_stream(scope: Scope, send: Send) -> Send:
    return send


def past_the_guards(scope: Scope, send: Send) -> Send:
    return state_of(scope).send_piece


@pytest.mark.parametrize("way", [a_stream, past_the_guards])
def test_pieces_of_a_stream_wait_for_those_of_its_callers_other_streams(way: Callable[[Scope, Send], Send]) -> None:
    async def work() -> None:
        passed = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal passed
            await send(START)
            await way(scope, send)(PIECE)
            passed += 1

        turns = FairTurns(app, unlimited())
        others = [turns._places.pieces.shares.take_now(caller=CALLER) for _ in range(PIECES.each)]
        request = asyncio.create_task(asked(turns))
        await turns_of_the_loop(20)
        assert passed == 0
        for turn in others:
            assert turn is not None
            turn.end()
        assert await request == [START, PIECE]

    asyncio.run(asyncio.wait_for(work(), 10))


def full(room: Room) -> list[Turn]:
    """The caller's whole share of a room, held for as long as the test likes."""
    turns = [room.shares.take_now(caller=CALLER) for _ in range(WORK.each)]
    return [turn for turn in turns if turn is not None]


@in_a_loop
async def test_a_request_whose_client_leaves_while_it_waits_is_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it is passed on")

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    turns = FairTurns(app, unlimited())
    held = full(turns._places.work)
    assert await asked(turns, receive=gone) == []
    assert turns._places.work.shares.waiting == 0
    for turn in held:
        turn.end()


@in_a_loop
async def test_a_request_that_waits_takes_one_part_of_its_body() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        await asyncio.sleep(0)
        received += 1
        return {"type": "http.request", "body": b"%d" % received, "more_body": True}

    room = Room(WORK)
    held = full(room)
    turn = RequestTurn(receive, Place(room, CALLER), lambda: True)
    begun = asyncio.create_task(turn.begin())
    while not received:  # noqa: ASYNC110 - a listener announces nothing to tests
        await asyncio.sleep(0.001)
    await turns_of_the_loop(20)
    assert received == 1
    for one in held:
        one.end()
    await begun
    assert [(await turn())["body"], (await turn())["body"]] == [b"1", b"2"]


@in_a_loop
async def test_a_request_without_room_is_answered_with_a_refusal() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it is passed on")

    turns = FairTurns(app, unlimited())
    turns._places.work = Room(Share("requests", 1, 1, 0, 0, seconds=1.0))
    held = turns._places.work.shares.take_now(caller=("another",))
    sent = await asked(turns)
    assert sent[0]["status"] == 503
    assert held is not None


@in_a_loop
async def test_a_refusal_in_the_middle_of_an_answer_is_no_second_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        raise NoRoom("pieces", of_caller=True)

    with pytest.raises(NoRoom):
        await asked(FairTurns(app, unlimited()))


@in_a_loop
async def test_the_room_of_an_answer_is_given_back_when_it_is_sent() -> None:
    held = list[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hold(UNCOUNTED + 1)
        held.append(room._room.shares.used)

    async def send(message: Message) -> None:
        raise AssertionError

    room: AnswerRoom = AnswerRoom(app)
    guarded: ASGIApp = room
    await guarded(at("/v1/models"), nothing_more, send)
    assert held == [UNCOUNTED + 1]
    assert room._room.shares.used == 0
