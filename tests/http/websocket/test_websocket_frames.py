"""Hostile frames, on a real socket: each ends its own connection, with a code, and no other."""

from __future__ import annotations

import socket as sockets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wsproto.frame_protocol import Frame

from server.http.json_body import MAX_BODY
from server.http.websocket import protocol as protocols
from server.http.websocket.frames import MOST_FRAGMENTS, FrameReader
from tests.support.callers import ALICE
from tests.support.patience import PATIENCE
from tests.support.responses_server import Responding, responding, script
from tests.support.socket_client import KEY, Socket, frame, offered, opened

BODY = b'{"type":"response.create","model":"small","input":"hi"}'


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("frames")) as running:
        yield running


@pytest.fixture
def socket(place: Responding) -> Iterator[Socket]:
    with opened(place.house.address, ALICE) as found:
        yield found


@pytest.mark.parametrize("size", [10, 10_000, 100_000])
def test_a_message_may_come_right_behind_the_offer(place: Responding, size: int) -> None:
    address, message = place.house.address, BODY.replace(b"hi", b"x" * size)
    with sockets.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        answer = offered(connection, ALICE, behind=frame(1, message) + frame(9, b"here"))
        head, _, come = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        socket = Socket(connection, bytearray(come))
        found = [socket.next()]
        while b'"response.output_item.done"' not in found[-1][1]:
            found.append(socket.next())
        assert (10, b"here") in found


BROKEN = {
    "no mask": (frame(1, BODY, masked=False), 1002),
    "a reserved bit": (frame(1, BODY, reserved=0x40), 1002),
    "another reserved bit": (frame(1, BODY, reserved=0x10), 1002),
    "binary": (frame(2, BODY), 1003),
    "no kind": (frame(3, b""), 1002),
    "no control": (frame(11, b""), 1002),
    "more of nothing": (frame(0, BODY), 1002),
    "two at once": (frame(1, BODY, last=False) + frame(1, BODY), 1002),
    "a ping in parts": (frame(9, b"", last=False), 1002),
    "a long ping": (frame(9, b"x" * 126), 1002),
    "crumbs": (frame(1, b"", last=False) + frame(0, b"", last=False) * MOST_FRAGMENTS, 1008),
    "pings": (frame(9, b"") * 65, 1008),
    "too large": (b"\x81\xff" + (MAX_BODY + 1).to_bytes(8) + b"mask", 1009),
    "endless": (b"\x81\xff\x7f" + b"\xff" * 7 + b"mask", 1009),
    "longer than sizes are": (b"\x81\xff" + b"\xff" * 8 + b"mask", 1002),
    "a short size in the long form": (b"\x81\xfe\x00\x7dmask", 1002),
    "no text": (frame(1, b"\xff\xfe"), 1007),
    "half a letter": (frame(1, b"\xc3", last=False) + frame(0, b""), 1007),
    "half a pair": (frame(1, b"\xed\xa0\x80"), 1007),
    "a close without a code": (frame(8, b"\x00"), 1002),
    "a close that is no text": (frame(8, b"\x03\xe8\xff"), 1007),
    "another request": (b"GET /v1/models HTTP/1.1\r\nHost: here\r\n\r\n", 1002),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_frame_of_ours_closes_the_connection(socket: Socket, kind: str) -> None:
    sent, code = BROKEN[kind]
    socket.send(sent)
    assert socket.closed() == code
    socket.connection.shutdown(sockets.SHUT_WR)
    assert socket.next()[0] == -1


@pytest.mark.parametrize(
    ("data", "answer"),
    [(b"", b""), (b"\x03\xe8bye", b"\x03\xe8"), (b"\x0f\xa0", b"\x0f\xa0"), (b"\x03\xf4", b"\x03\xf4")],
)
def test_a_close_is_answered(socket: Socket, data: bytes, answer: bytes) -> None:
    socket.send(frame(8, data))
    assert socket.next() == (8, answer)
    assert socket.next()[0] == -1


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_close_with_a_code_that_none_may_send_is_told(socket: Socket, code: int) -> None:
    socket.send(frame(8, code.to_bytes(2)))
    assert socket.closed() == 1002


def test_messages_by_the_hundred_while_one_is_answered_close_the_connection(socket: Socket) -> None:
    socket.create(script(content="a b c d e f", delay_ms=100))
    socket.send(frame(1, BODY) * 100)
    assert socket.closed() == 1008


def test_a_client_that_leaves_in_the_middle_ends_its_response(place: Responding) -> None:
    with opened(place.house.address, ALICE) as leaving:
        leaving.create(script(content="a b c d", delay_ms=50))
        identity = leaving.event()["response"]["id"]
    with opened(place.house.address, ALICE) as other:
        other.response("b")
    assert place.over(identity, missing=True)["status"] == "cancelled"


def test_a_half_offer_is_a_request_like_any_other(place: Responding) -> None:
    address = place.house.address
    version = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}")
    offers = [
        (*version, "Sec-WebSocket-Version: 8"),
        version,
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"),
        ("Connection: Upgrade", "Upgrade: h2c", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"),
    ]
    for offer in offers:
        answer = address.get("/v1/responses", ALICE, *offer)
        assert (answer.status, answer.json["object"]) == (200, "list")
    for path in ("/v1/models", "/v1/responses/compact", "/v1/chat/completions", "/v1/messages", "/"):
        with sockets.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
            assert b" 101 " not in offered(connection, ALICE, path=path)[:20]


def test_a_client_that_reads_nothing_holds_up_no_other(place: Responding) -> None:
    address = place.house.address
    words = script(content="word " * 1_000)
    with opened(address, ALICE) as deaf:
        deaf.create(words)
        with opened(address, ALICE) as other:
            assert other.response("b")[-1]["type"] == "response.completed"
        assert deaf.events()[-1]["response"]["output"][0]["content"][0]["text"] == "word " * 1_000


def test_messages_that_come_at_once_are_taken_one_in_each_turn_of_the_loop(
    place: Responding, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turn, taken = place.house.policy.loop, 0, []
    feed = FrameReader.feed

    def counted(reader: FrameReader, data: bytes) -> Iterator[Frame]:
        nonlocal turn
        taken.append(turn)
        loop.call_soon(next_turn)
        return feed(reader, data)

    def next_turn() -> None:
        nonlocal turn
        turn += 1

    with ExitStack() as stack:
        mine = [stack.enter_context(opened(place.house.address, ALICE)) for _ in range(6)]
        for each in mine:
            each.response("first", store=False)
        monkeypatch.setattr(FrameReader, "feed", counted)
        loop.call_soon_threadsafe(time.sleep, 0.1)
        for each in mine:
            each.create("second", store=False)
        assert all(each.events()[-1]["type"] == "response.completed" for each in mine)
    assert len(taken) >= 6
    assert len({*taken[:6]}) == 6


def test_a_caller_has_a_share_of_the_connections(place: Responding) -> None:
    address, each = place.house.address, protocols.SocketShares().sockets.share.each
    with_mine = [opened(address, ALICE) for _ in range(each)]
    mine = [context.__enter__() for context in with_mine]
    try:
        with sockets.create_connection((address.host, address.port), timeout=PATIENCE) as one_more:
            answer = offered(one_more, ALICE)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"rate_limit_exceeded" in answer
        with opened(address, "Authorization: Bearer bob") as other:
            assert other.response("b")[-1]["type"] == "response.completed"
    finally:
        for context in with_mine:
            context.__exit__(None, None, None)
    assert len(mine) == each
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with sockets.create_connection((address.host, address.port), timeout=PATIENCE) as again:
            if offered(again, ALICE).startswith(b"HTTP/1.1 101 "):
                return
    raise AssertionError("the share of connections that have ended is not given back")


def test_many_connections_each_get_their_own_answers(place: Responding) -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        with opened(place.house.address, ALICE) as mine:
            for turn in range(3):
                events = mine.response(f"{number} {turn}", store=False)
                found[number * 3 + turn] = events[-1]["response"]["output"][0]["content"][0]["text"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number * 3 + turn: f"echo: {number} {turn}" for number in range(8) for turn in range(3)}
