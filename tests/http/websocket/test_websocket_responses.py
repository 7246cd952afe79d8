"""Responses over a WebSocket: each message is a request of its own, with what HTTP would answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.inference.providers.echo import LONGEST
from tests.support.callers import ALICE, STRANGER
from tests.support.responses_server import RESPONSES, Responding, responding, script
from tests.support.socket_client import Socket, frame, opened, refused


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("sockets")) as running:
        yield running


@pytest.fixture
def socket(place: Responding) -> Iterator[Socket]:
    with opened(place.house.address, ALICE) as found:
        yield found


def text_of(events: list[Any]) -> str:
    return str(events[-1]["response"]["output"][0]["content"][0]["text"])


def test_a_message_is_answered_with_the_events_of_its_response(place: Responding, socket: Socket) -> None:
    streamed, events = place.streamed("hello"), socket.response("hello")
    assert [event["type"] for event in events] == [event["type"] for event in streamed]
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    last = events[-1]["response"]
    assert text_of(events) == "echo: hello"
    assert place.ask("GET", f"{RESPONSES}/{last['id']}").json == last


def test_responses_follow_one_another_on_one_connection(socket: Socket) -> None:
    assert [text_of(socket.response(f"{n}")) for n in range(4)] == [f"echo: {n}" for n in range(4)]


def test_a_stored_response_is_gone_on_from_anywhere(place: Responding, socket: Socket) -> None:
    first = socket.response("one")[-1]["response"]["id"]
    with opened(place.house.address, ALICE) as other:
        second = other.response("two", previous_response_id=first)[-1]["response"]
    assert len(place.items(second["id"])) == 3
    with opened(place.house.address, "Authorization: Bearer bob") as foreign:
        assert (
            foreign.response("three", previous_response_id=first)[-1]["error"]["code"] == "previous_response_not_found"
        )


def test_what_is_not_stored_lives_on_its_connection_alone(place: Responding, socket: Socket) -> None:
    before = place.count()
    first = socket.response("one", store=False)[-1]["response"]
    second = socket.response("two", store=False, previous_response_id=first["id"])[-1]["response"]
    assert (second["status"], second["previous_response_id"]) == ("completed", first["id"])
    # All that went before reaches the model: its words are counted.
    third = socket.response("three", store=False, previous_response_id=second["id"])[-1]["response"]
    words = [response["usage"]["input_tokens"] for response in (first, second, third)]
    assert words == [1, 4, 7]
    assert place.count() == before
    with opened(place.house.address, ALICE) as other:
        lost = other.response("four", store=False, previous_response_id=third["id"])
        assert (lost[0]["status"], lost[0]["error"]["code"]) == (404, "previous_response_not_found")
        assert lost[0]["error"]["param"] == "previous_response_id"
        assert text_of(other.response("again", store=False)) == "echo: again"


@pytest.mark.parametrize("store", [True, False])
def test_a_response_without_output_is_gone_on_from(place: Responding, socket: Socket, store: bool) -> None:
    events = socket.response("one", store=store, generate=False)
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    first = events[-1]["response"]
    assert (first["status"], first["output"], first["usage"], first["model"]) == ("completed", [], None, "echo/small")
    shown = place.ask("GET", f"{RESPONSES}/{first['id']}")
    assert shown.json == first if store else shown.status == 404
    second = socket.response("two", store=store, previous_response_id=first["id"])
    assert (text_of(second), second[-1]["response"]["usage"]["input_tokens"]) == ("echo: two", 2)


def test_a_response_without_output_is_permitted_like_any_other(place: Responding, socket: Socket) -> None:
    for more, code in (({"model": "none"}, "model_not_found"), ({"previous_response_id": "resp_x"}, None)):
        error = socket.response("one", **{"generate": False, **more})[-1]
        assert (error["type"], error["status"]) == ("error", 404)
        assert code in (None, error["error"]["code"])
    made = socket.response("one", generate=False)[-1]["response"]["id"]
    asked = [line["action"] for line in place.house.whole_log() if line.get("response_id") == made and "action" in line]
    assert asked == ["create"]


def test_a_response_without_output_is_checked_like_any_other(socket: Socket) -> None:
    search = {"type": "file_search", "vector_store_ids": ["vs_none"]}
    for more in (
        {"tools": [search]},
        {"temperature": 7},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-none"}]}]},
    ):
        assert socket.response("one", **{"generate": False, **more})[-1]["type"] == "error", more


def test_a_turn_that_fails_ends_its_chain(socket: Socket) -> None:
    first = socket.response("one", store=False)[-1]["response"]["id"]
    failed = socket.response(script(error={"status": 400}), store=False, previous_response_id=first)
    assert (failed[-1]["type"], failed[-1]["status"]) == ("error", 400)
    after = socket.response("two", store=False, previous_response_id=first)
    assert after[0]["error"]["code"] == "previous_response_not_found"


def test_a_chain_that_is_not_stored_may_be_stored_later(place: Responding, socket: Socket) -> None:
    first = socket.response("one", store=False)[-1]["response"]["id"]
    second = socket.response("two", previous_response_id=first)[-1]["response"]["id"]
    assert len(place.items(second)) == 3


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"type": "response.steer"}, "type"),
        ({"type": None}, "type"),
        ({"background": True}, "background"),
        ({"generate": "no"}, "generate"),
        ({"stream_id": "a"}, "stream_id"),
        ({"temperature": 7}, "temperature"),
    ],
)
def test_what_is_wrong_is_told_and_the_connection_goes_on(socket: Socket, more: dict[str, Any], param: str) -> None:
    socket.create(**more)
    error = socket.event()
    assert (error["type"], error["status"], error["error"]["param"]) == ("error", 400, param)
    assert error["error"].keys() == {"message", "type", "param", "code"}
    assert text_of(socket.response("on")) == "echo: on"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"hello", b'{"type": 1, "type": 2}', b"\x00"])
def test_what_is_no_json_is_told(socket: Socket, text: bytes) -> None:
    socket.send(frame(1, text))
    error = socket.event()
    assert (error["type"], error["status"]) == ("error", 400)
    assert text_of(socket.response("on")) == "echo: on"


def test_a_model_that_may_not_be_read_is_not_there(place: Responding, socket: Socket) -> None:
    secret, nothing = (socket.response("hi", model=name)[0]["error"] for name in ("secret", "nothing"))
    assert secret["code"] == nothing["code"] == "model_not_found"
    reader = place.house.address
    with opened(reader, "Authorization: Bearer reader") as other:
        assert other.response("hi")[0]["status"] == 403
        assert other.response("hi", store=False)[-1]["type"] == "response.completed"


def test_a_message_in_pieces_is_one_message(socket: Socket) -> None:
    body = b'{"type":"response.create","model":"small","input":"in pieces"}'
    pieces = [frame(1 if place == 0 else 0, body[place : place + 7], last=False) for place in range(0, len(body), 7)]
    for piece in pieces:
        socket.send(piece, frame(9, b"are you there?"))
    socket.send(frame(0, b"", last=True))
    for _ in pieces:
        assert socket.next() == (10, b"are you there?")
    assert text_of(socket.events()) == "echo: in pieces"


def test_a_second_message_while_one_is_answered_is_refused(socket: Socket) -> None:
    socket.create(script(content="a b c d", delay_ms=50))
    assert socket.event()["type"] == "response.created"
    socket.create("second")
    events = socket.events()
    refusal = next(event for event in events if event["type"] == "error")
    assert (refusal["status"], refusal["error"]["code"]) == (409, "response_in_progress")
    assert text_of(socket.events()) == "a b c d"
    assert text_of(socket.response("third")) == "echo: third"


def test_a_message_behind_the_end_is_answered(socket: Socket) -> None:
    for n in range(20):
        socket.create(f"{n}")
        assert text_of(socket.events()) == f"echo: {n}"


def test_a_large_response_comes_whole(socket: Socket) -> None:
    words = "x" * 200_000
    assert text_of(socket.response(words)) == f"echo: {words}"[:LONGEST]
    assert text_of(socket.response("on")) == "echo: on"


def test_every_message_is_decided_as_a_request(place: Responding, socket: Socket) -> None:
    before = len(place.house.whole_log())
    socket.response("one")
    records = place.house.whole_log()[before:]
    [route] = [record for record in records if record["kind"] == "route"]
    assert (route["route"], route["principal"]) == (f"POST {RESPONSES}", "alice")
    of_request = [record for record in records if record.get("request_id") == route["request_id"]]
    assert any("small" in str(record) for record in of_request), records


@pytest.mark.parametrize(
    ("headers", "status"),
    [((), 401), (("Authorization: Bearer bad",), 401), ((STRANGER,), 403), (("Authorization: Bearer down",), 503)],
)
def test_who_may_not_use_the_route_opens_nothing(place: Responding, headers: tuple[str, ...], status: int) -> None:
    answer = refused(place.house.address, *headers)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert answer.error["message"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_no_page_opens_a_websocket_where_none_may_call(place: Responding, origin: str) -> None:
    answer = refused(place.house.address, ALICE, f"Origin: {origin}")
    assert answer.status == 403
