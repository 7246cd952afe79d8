"""How a stream ends when its provider does not behave: always properly, with an `error` event if it is not whole."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from json import dumps, loads
from typing import Any

import pytest

from server.api.models.model import Model
from server.inference.answers.event_relay import MAX_EVENT
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.application import house
from tests.support.failing_provider import SECRET, chunk
from tests.support.patience import PATIENCE
from tests.support.scripted_provider import (
    CHUNKED,
    DONE,
    HEAD,
    UNTIL_CLOSE,
    Script,
    Scripted,
    framed,
    reset,
    scripted,
    sending,
    sending_all_but_the_end,
    spoken,
)
from tests.support.serving import Address, Answer, parsed, serving
from tests.support.stream_client import Client

CHAT = "/v1/chat/completions"
HASTY = "hasty"
STREAM = {"model": "p-here", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
EVENTS = spoken("one", "two", "three")
STEP = 1 if os.environ.get("OSTIARY_NIGHTLY") else 7


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Scripted, Address]]:
    with scripted() as provider:
        # On a busy machine a script may be late, so only where it is silent on purpose is nobody patient.
        url, models = f"{provider.url}/v1", [Model(f"{name}-here", name, "m", "llm", {}) for name in ("p", HASTY)]
        providers = {
            "p": OpenAICompatible("p", url, None),
            HASTY: OpenAICompatible(HASTY, url, None, limits=Limits(silence=1.0)),
        }
        with serving(house(models=tuple(models), providers=providers)) as address:
            yield provider, address


def asked(running: tuple[Scripted, Address], script: Script, by: str = "p", **more: Any) -> Answer:
    """The whole answer, in which the provider's secret must not be."""
    provider, address = running
    provider.play(script)
    body = dumps({**STREAM, "model": f"{by}-here", **more}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    raw = address.exchange(head.encode() + body)
    answer = parsed(raw)
    assert answer.status != 200 or raw.endswith(b"0\r\n\r\n"), "the body has no end"
    assert SECRET not in raw.decode()
    return answer


def said(answer: Answer) -> tuple[list[str], Any]:
    """The texts of a stream's chunks, and its last event: None for `[DONE]`."""
    *events, rest = answer.body.split(b"\n\n")
    assert rest == b""
    *chunks, last = [event.removeprefix(b"data: ") for event in events if event != b": ping"]
    found = [loads(event) for event in chunks]
    assert {one["model"] for one in found} <= {"p/m"} or {one["model"] for one in found} == {f"{HASTY}/m"}
    texts = [choice["delta"]["content"] for one in found for choice in one["choices"]]
    return texts, None if last == b"[DONE]" else loads(last)


def assert_broken_off(answer: Answer, *texts: str) -> None:
    """A stream of these texts that ends with an error."""
    assert answer.status == 200
    found, last = said(answer)
    assert found == list(texts)
    assert last.keys() == {"error"}
    assert last["error"].keys() == {"message", "type", "param", "code"}
    assert last["error"]["type"] == "server_error"


WHOLE = CHUNKED + b"".join(map(framed, [*EVENTS, DONE])) + b"0\r\n\r\n"
END_OF_DONE = WHOLE.index(DONE) + len(DONE)


@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_a_provider_that_dies_at_any_byte_leaves_a_proper_answer(
    running: tuple[Scripted, Address], ending: str
) -> None:
    ends = [WHOLE.index(event) + len(event) for event in EVENTS]
    borders = {0, len(CHUNKED) - 1, len(CHUNKED), *ends, END_OF_DONE - 1, END_OF_DONE, len(WHOLE) - 1}
    for cut in sorted(borders | set(range(0, len(WHOLE), STEP))):
        sent = sending(WHOLE[:cut])
        answer = asked(running, sent if ending == "closed" else lambda peer, sent=sent: (sent(peer), reset(peer))[0])
        if answer.status != 200:
            assert (answer.status, answer.error["code"]) == (502, "server_error")
            assert cut < ends[0] or ending == "reset"
            continue
        texts, last = said(answer)
        assert cut >= ends[0]
        # A reset may overtake what was sent before it.
        assert texts == ["one", "two", "three"][: sum(end <= cut for end in ends)] or ending == "reset"
        assert (last is None) == (cut >= END_OF_DONE) or ending == "reset"


def test_the_head_goes_out_before_there_is_an_event(running: tuple[Scripted, Address]) -> None:
    provider, address = running
    go_on = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        assert go_on.wait(PATIENCE)

    provider.play(script)
    with Client(address, "p") as client:
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert b"data" not in client.received
        go_on.set()


@pytest.mark.parametrize(
    ("sent", "texts"),
    [
        (b"", None),
        (HEAD, None),
        (CHUNKED, None),
        (CHUNKED + framed(EVENTS[0]), ["one"]),
        (CHUNKED + framed(EVENTS[0] + EVENTS[1][:20]), ["one"]),
        (CHUNKED + framed(EVENTS[0]) + framed(EVENTS[1])[:20], ["one"]),
        (CHUNKED + framed(b"".join(EVENTS)), ["one", "two", "three"]),
    ],
    ids=["before the head", "in the head", "after the head", "between", "in an event", "in a chunk", "before the end"],
)
def test_a_provider_that_falls_silent_is_not_waited_for(
    running: tuple[Scripted, Address], sent: bytes, texts: list[str] | None
) -> None:
    answer = asked(running, sending_all_but_the_end(sent), HASTY)
    if texts is None:
        assert (answer.status, answer.error["code"]) == (502, "server_error")
    else:
        assert_broken_off(answer, *texts)
    assert running[0].left.wait(PATIENCE)


@pytest.mark.parametrize("framing", [UNTIL_CLOSE, HEAD + b"Content-Length: %d\r\n\r\n" % len(b"".join(EVENTS))])
def test_a_body_that_is_whole_is_no_stream_that_is_whole(running: tuple[Scripted, Address], framing: bytes) -> None:
    assert_broken_off(asked(running, sending(framing, *EVENTS)), "one", "two", "three")


@pytest.mark.parametrize(
    "last", [DONE, b"data: [DONE]\n", b"data: [DONE]", b"data:[DONE]\r\n\r\n", b"data: [DONE]\r\r"]
)
def test_the_end_is_known_however_it_is_spelled(running: tuple[Scripted, Address], last: bytes) -> None:
    assert said(asked(running, sending(UNTIL_CLOSE, *EVENTS, last))) == (["one", "two", "three"], None)


FORMS = {
    "CRLF": b"".join(EVENTS).replace(b"\n", b"\r\n"),
    "CR": b"".join(EVENTS).replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + b"".join(EVENTS),
    "no blank after the colon": b"".join(EVENTS).replace(b"data: ", b"data:"),
    "event, id and retry": b"".join(b"event: message\nid: 7\nretry: 1\n" + event for event in EVENTS),
    "blank lines": b"\n\n\n" + b"\n".join(EVENTS),
    "data of several lines": b"".join(event.replace(b', "created"', b',\ndata: "created"') for event in EVENTS),
    "comments": b": a comment\n\n".join(EVENTS) + b": " + SECRET.encode() + b"\n\n",
    "an event without data": b"event: ping\n\n".join(EVENTS),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piecewise", [False, True])
def test_every_form_of_an_event_is_understood(running: tuple[Scripted, Address], form: str, piecewise: bool) -> None:
    body = FORMS[form] + DONE
    parts = [body[at : at + 1] for at in range(len(body))] if piecewise else [body]
    assert said(asked(running, sending(CHUNKED, *map(framed, parts), b"0\r\n\r\n"))) == (["one", "two", "three"], None)


@pytest.mark.parametrize(
    "garbage",
    [
        f"data: {SECRET}\n\n".encode(),
        b"data: []\n\n",
        b'data: {"object":"error","message":"' + SECRET.encode() + b'"}\n\n',
        b'event: error\ndata: {"message":"' + SECRET.encode() + b'"}\n\n',
        b'data: {"id":"x","model":"m","choices":[],"error":{"message":"' + SECRET.encode() + b'"}}\n\n',
        b'data: {"id":"x","model":"m","choices":[' + b"[" * 5000 + b"\n\n",
        b'data: {"choices":["\xff\xfe"]}\n\n',
    ],
)
def test_what_is_no_chunk_ends_the_stream(running: tuple[Scripted, Address], garbage: bytes) -> None:
    script = sending_all_but_the_end(CHUNKED, framed(EVENTS[0] + garbage + EVENTS[1]))
    assert_broken_off(asked(running, script), "one")
    assert running[0].left.wait(PATIENCE)


@pytest.mark.parametrize("after", [b"garbage", EVENTS[0], b'data: {"error":{}}\n\n', b"x" * 300_000, DONE])
def test_what_comes_after_the_end_is_dropped(running: tuple[Scripted, Address], after: bytes) -> None:
    for script in (
        sending(CHUNKED, framed(EVENTS[0] + DONE + after), b"0\r\n\r\n"),
        sending(CHUNKED, framed(EVENTS[0] + DONE), framed(after), b"0\r\n\r\n"),
        sending_all_but_the_end(CHUNKED, framed(EVENTS[0] + DONE) + framed(after)),
        sending(UNTIL_CLOSE, EVENTS[0], DONE, after),
    ):
        assert said(asked(running, script)) == (["one"], None)


def test_a_single_delta_of_ten_megabytes_arrives(running: tuple[Scripted, Address]) -> None:
    text = 'a "long" word, ' * 700_000
    event = chunk("m", {"content": text})
    script = sending(CHUNKED, framed(EVENTS[0]), framed(event), framed(EVENTS[1] + DONE) + b"0\r\n\r\n")
    assert said(asked(running, script)) == (["one", text, "two"], None)


def test_an_event_without_an_end_is_given_up(running: tuple[Scripted, Address]) -> None:
    piece = framed(b"x" * 1_000_000)
    script = sending(CHUNKED, framed(EVENTS[0] + b"data: "), *[piece] * (MAX_EVENT // 1_000_000 + 8))
    assert_broken_off(asked(running, script), "one")


@pytest.mark.parametrize(
    "event",
    [
        b'{"id":"x","model":"p/m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
        b'{"id":"x","model":"p/m","choices":[],"usage": null, "x_vendor": {"model":"m", "error":null}}',
        b'{"id":"x","model":"p/m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":'
        b'{"name":"f","arguments":"{\\"model\\":\\"m\\"}"}},{"index":1,"id":"b","function":{"name":"g","arguments":""}}]}}]}',
        b'{"id":"x","model":"p/m","choices":[{"delta":{"content":"\\ud83d"},"finish_reason":"error"}]}',
    ],
    ids=["usage", "no usage", "parallel tool calls", "half a character"],
)
def test_what_a_chunk_holds_is_passed_on(running: tuple[Scripted, Address], event: bytes) -> None:
    upstream_event = b"data: " + event.replace(b"p/m", b"m", 1) + b"\n\n"
    for first in (EVENTS[0], b'data: {"id":"x","model":"m","choices":[]}\n\n'):
        body = framed(first + upstream_event * 2 + DONE) + b"0\r\n\r\n"
        answer = asked(running, sending(CHUNKED + body), stream_options={"include_usage": True})
        *found, done, rest = answer.body.split(b"\n\n")[1:]
        assert (done, rest, len(found)) == (b"data: [DONE]", b"", 2)
        given = loads(event)
        for shown in map(loads, (one.removeprefix(b"data: ") for one in found)):
            for theirs, ours in zip(given["choices"], shown.pop("choices"), strict=True):
                assert ours["delta"].keys() == theirs["delta"].keys()
                assert "tool_calls" in ours["delta"] or ours["delta"] == theirs["delta"]
            assert {**given, **shown} == {**shown, "choices": given["choices"]}


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-" + SECRET.encode() + b"\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_what_is_no_stream_from_the_start_is_a_status(running: tuple[Scripted, Address], head: bytes) -> None:
    answer = asked(running, sending(head))
    assert (answer.status, answer.error["code"]) == (502, "server_error")
