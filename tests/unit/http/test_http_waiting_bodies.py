"""Bodies of requests that wait for their place: what they hold is bounded, and goes when their clients leave."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from server.fairness.places import HELD, WORK, Place, Room
from server.fairness.shares import NoRoom, Share, Turn
from server.http.disconnects import PATIENCE_SECONDS
from server.http.errors import ClientGone
from server.http.fair_turns import MOST_READ, UNCOUNTED, FairTurns, RequestTurn
from server.http.json_body import read_body
from server.http.leaving import LEAVING, Leaving
from server.http.request_ids import RequestIds
from server.http.request_state import RequestState, scope_of
from server.json_input.body_parser import BodyParser
from server.json_input.memory_limit import MemoryLimit
from server.json_input.reader import LARGE, Reader
from server.quota.admission import unlimited
from tests.support import body_checks
from tests.unit.http.test_http_fair_turns import CALLER, full, in_a_loop, nothing_more, turns_of_the_loop

GONE: Message = {"type": "http.disconnect"}
TWO_BODIES = Share("bytes of bodies whose requests wait", 4 * MOST_READ, 2 * MOST_READ, 0, 0, seconds=1.0)


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def unsent(message: Message) -> None:
    """Nothing is sent."""


async def read(turn: RequestTurn, place: Place) -> bytes:
    """What `read_body` reads in that turn."""
    call = RequestState("req_1", 0.0, unsent, turn=turn)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")], **scope_of(call)}
    HELD.set(place)
    return (await read_body(Request(scope, turn), Reader(), BodyParser(body_checks.count, dict)))[0]


class Coming:
    """A body in parts; with each one from the second on, the caller's other requests have taken all of its places."""

    def __init__(self, room: Room, *parts: Message, leaving: Leaving | None = None) -> None:
        self._room = room
        self.place = Place(room, CALLER)
        self.others = list[Turn]()
        self._parts = [*parts]
        self._leaving = leaving
        self.turn = RequestTurn(self.receive, self.place, lambda: False, leaving)

    async def receive(self) -> Message:
        await turns_of_the_loop()
        message = self._parts.pop(0)
        self.others += full(self._room)
        if self._leaving is not None:
            self._leaving.is_heard = not message.get("more_body", False)
        return message

    async def read(self) -> bytes:
        await self.turn.begin()
        return await read(self.turn, self.place)


@in_a_loop
async def test_a_body_that_is_still_coming_waits_for_no_place_and_ends_with_its_client() -> None:
    room = Room(WORK)
    with pytest.raises(ClientGone):
        await Coming(room, part(b'{"a":"'), part(b"x" * 2 * LARGE), GONE).read()
    assert room.shares.waiting == 0


@in_a_loop
async def test_a_client_that_leaves_while_its_whole_body_waits_is_noticed() -> None:
    room, leaving = Room(WORK), Leaving(is_heard=False)
    reading = asyncio.ensure_future(Coming(room, part(b"{"), part(b"}", more=False), leaving=leaving).read())
    while not room.shares.waiting:  # noqa: ASYNC110 - nothing announces a request that waits
        await asyncio.sleep(0)
    leaving.tell()
    with pytest.raises(ClientGone):
        await reading
    assert room.shares.waiting == 0


@in_a_loop
async def test_a_whole_body_is_read_in_its_place() -> None:
    room = Room(WORK)
    coming = Coming(room, part(b"{"), part(b"}", more=False))
    reading = asyncio.ensure_future(coming.read())
    while not room.shares.waiting:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    coming.others.pop().end()
    assert await reading == b"{}"
    assert coming.place.is_held


@in_a_loop
async def test_an_upload_whose_client_has_left_waits_for_no_place() -> None:
    room = Room(WORK)
    coming = Coming(room, GONE)
    await coming.turn.begin()
    assert await coming.turn() == GONE


@in_a_loop
async def test_parts_of_uploads_that_wait_are_bounded_for_each_caller() -> None:
    room, bodies = Room(WORK), MemoryLimit(TWO_BODIES)

    async def receive() -> Message:
        await turns_of_the_loop()
        others.extend(full(room))
        return part(b"x" * MOST_READ)

    async def upload() -> Message:
        turn = RequestTurn(receive, Place(room, CALLER), lambda: False, None, bodies)
        await turn.begin()
        return await turn()

    others = list[Turn]()
    uploads = [asyncio.ensure_future(upload()) for _ in range(3)]
    done, waiting = await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(NoRoom):
        await done.pop()
    for turn in others:
        turn.end()
    assert [(await one)["type"] for one in waiting] == ["http.request"] * 2


@in_a_loop
async def test_a_request_that_waits_is_read_no_further_where_its_connection_tells_that_the_client_leaves() -> None:
    async def receive() -> Message:
        raise AssertionError("it is read")

    room, leaving = Room(WORK), Leaving(is_heard=False)
    others = full(room)
    turn = RequestTurn(receive, Place(room, CALLER), lambda: True, leaving)
    waiting = asyncio.ensure_future(turn.begin())
    await asyncio.sleep(2 * PATIENCE_SECONDS)
    leaving.tell()
    with pytest.raises(ClientGone):
        await waiting
    with pytest.raises(ClientGone):
        await turn.begin()
    assert len(others) == WORK.each


@in_a_loop
async def test_bodies_of_requests_that_wait_are_bounded_for_each_caller() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    turns = FairTurns(app, unlimited())
    turns._bodies = MemoryLimit(TWO_BODIES)
    others = full(turns._places.work)

    def sent(*headers: tuple[bytes, bytes], address: str = CALLER[1]) -> asyncio.Future[int]:
        return asyncio.ensure_future(status_of(turns, address, *headers))

    large, chunked = (b"content-length", b"9000000"), (b"transfer-encoding", b"chunked")
    waiting = [sent(large), sent(chunked)]
    await turns_of_the_loop()
    assert [await sent(large), await sent(chunked)] == [429, 429]
    waiting += [sent((b"content-length", b"%d" % UNCOUNTED)), sent()]
    await turns_of_the_loop()
    assert await sent(large, address="192.0.2.2") == 204
    for turn in others:
        turn.end()
    assert await asyncio.gather(*waiting) == [204] * 4
    assert not turns._bodies.shares.used


async def status_of(turns: FairTurns, address: str, *headers: tuple[bytes, bytes]) -> int:
    """The status of the answer to a request with these headers."""
    statuses = list[int]()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    head = {"method": "POST", "path": "/v1/files", "scheme": "http", "headers": [*headers]}
    scope = {"type": "http", **head, "client": (address, 1), LEAVING: Leaving(is_heard=False)}
    await RequestIds(turns)(scope, nothing_more, send)
    return statuses[0]
