"""Refusals and streams of Bedrock that break off, in front of the stub."""

from __future__ import annotations

from json import loads
from typing import Any

import pytest

from tests.support.bedrock_server import Chatting
from tests.support.bedrock_stub import TEXT, Event, frame


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ((429, "ThrottlingException", "Too many requests"), 429, "rate_limit_exceeded"),
        ((400, "ThrottlingException", "Too many requests"), 429, "rate_limit_exceeded"),
        ((400, "ServiceQuotaExceededException", "quota"), 429, "rate_limit_exceeded"),
        ((400, "ValidationException", "Input is too long for requested model."), 400, "context_length_exceeded"),
        ((400, "ValidationException", "malformed secret-words"), 400, None),
        ((403, "AccessDeniedException", "arn:aws:iam::123 secret-words"), 502, "server_error"),
        ((424, "ModelErrorException", "secret-words"), 502, "server_error"),
        ((408, "ModelTimeoutException", "secret-words"), 502, "server_error"),
        ((503, "ServiceUnavailableException", "secret-words"), 502, "server_error"),
    ],
)
def test_refusals_are_of_our_kinds(
    refusal: tuple[int, str, str], status: int, code: str | None, running: Chatting
) -> None:
    running.stub.refusal = refusal
    for stream, running.stub.has_error_header in ((False, True), (True, False)):
        answer = running.chat(stream=stream)
        assert (answer.status, answer.error["code"]) == (status, code), answer.body
        assert b"secret-words" not in answer.body


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttlingException", "rate_limit_exceeded"),
        ("modelStreamErrorException", "server_error"),
        ("internalServerException", "server_error"),
        ("serviceUnavailableException", "server_error"),
        ("validationException", None),
        ("malformed_tool_use", "server_error"),
        ("malformed_model_output", "server_error"),
    ],
)
def test_an_exception_in_the_stream_ends_it_with_an_error(kind: str, code: str | None, running: Chatting) -> None:
    fault: Event = (kind, {"message": "secret-words"})
    if kind.startswith("malformed"):
        fault = ("messageStop", {"stopReason": kind})
    running.stub.events[2:] = [fault]
    answer = running.chat(stream=True)
    *events, last, rest = answer.body.split(b"\n\n")
    assert (answer.status, rest) == (200, b"")
    assert b"Hel" in b"".join(events)
    assert loads(last.removeprefix(b"data: "))["error"]["code"] == code
    assert b"secret-words" not in answer.body


def test_odd_streams_fail_and_late_ones_end(running: Chatting) -> None:
    good = running.stub.events
    for events, tail in ((good[:3], b""), (good[:3], b"\0" * 64), (good[:3], b"\xff\xff\xff\xff" * 8)):
        running.stub.events, running.stub.tail = events, tail
        body = running.chat(stream=True).body
        assert b'"error"' in body, (events, tail)
        assert b"[DONE]" not in body
    # Without the usage, which comes last, an answer is whole; an event of a new kind is nothing.
    running.stub.events, running.stub.tail = [("newEvent", {}), *good[:-1]], b""
    body = running.chat(stream=True).body
    assert b'"error"' not in body
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttlingException", 429, "rate_limit_exceeded"),
        ("ThrottlingException", 429, "rate_limit_exceeded"),
        ("validationException", 400, None),
        ("modelStreamErrorException", 502, "server_error"),
        ("modelTimeoutException", 502, "server_error"),
        ("serviceUnavailableException", 502, "server_error"),
        ("newKindOfException", 502, "server_error"),
    ],
)
def test_an_exception_before_the_first_chunk_is_a_status(
    kind: str, status: int, code: str | None, running: Chatting
) -> None:
    running.stub.events = [(kind, {"message": "secret-words"})]
    answer = running.chat(stream=True)
    assert (answer.status, answer.error["code"]) == (status, code), answer.body
    assert b"secret-words" not in answer.body


@pytest.mark.parametrize(
    "fault",
    [
        frame(b"", message_type="error", error_code="InternalError", error_message="secret-words"),
        frame(b"secret-words", message_type="exception", exception_type="internalServerException"),
        frame(b"", message_type="exception"),
        frame(b"[" * 9000, message_type="exception", exception_type="internalServerException"),
        frame(b"{", message_type="event", event_type="contentBlockDelta"),
        frame(b"[]", message_type="event", event_type="messageStop"),
    ],
)
@pytest.mark.parametrize("place", [2, 5])
def test_other_faults_in_the_stream_end_it_too(fault: bytes, place: int, running: Chatting) -> None:
    running.stub.events, running.stub.tail = TEXT[:place], fault
    body = running.chat(stream=True).body
    assert loads(body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["code"] == "server_error"
    assert b"[DONE]" not in body
    assert b"secret-words" not in body


LATE: list[Event] = [
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "banana"}}),
    ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "weather"}}}),
    ("messageStart", {"role": "assistant"}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("throttlingException", {"message": "slower"}),
]


@pytest.mark.parametrize("late", LATE, ids=[kind for kind, _ in LATE])
def test_nothing_comes_behind_the_end_of_a_message(late: Event, running: Chatting) -> None:
    running.stub.events = [*TEXT[:-2], ("messageStop", {"stopReason": "guardrail_intervened"}), late, TEXT[-1]]
    body = running.chat(stream=True).body
    assert b'"error"' in body
    assert b"banana" not in body
    assert b"[DONE]" not in body


@pytest.mark.parametrize("reason", [None, 5, ["end_turn"], {"a": 1}, "of_a_later_version"])
def test_odd_reasons_for_an_end_are_ordinary_ones_without_a_guardrail(reason: Any, running: Chatting) -> None:
    running.stub.whole["stopReason"] = reason
    running.stub.events[-2] = ("messageStop", {"stopReason": reason})
    assert running.chat().json["choices"][0]["finish_reason"] == "stop"
    assert running.chunks()[-2]["choices"][0]["finish_reason"] == "stop"


def test_an_answer_that_is_too_large_is_none(running: Chatting) -> None:
    for size, status in ((1_500_000, 200), (2_200_000, 502)):
        running.stub.whole["output"] = {"message": {"role": "assistant", "content": [{"text": "x" * size}]}}
        assert running.chat().status == status


@pytest.mark.parametrize("words", [20_000, 1_900_000])
def test_large_bodies_are_taken_apart_beside_the_server(words: int, running: Chatting) -> None:
    long = [{"role": "user", "content": "word " * words}, {"role": "assistant", "content": "ok"}]
    answer = running.chat(*long, {"role": "user", "content": "hi"})
    assert answer.status == 200, answer.body
    texts = [turn["content"][0]["text"] for turn in running.stub.body["messages"]]
    assert texts == ["word " * words, "ok", "hi"]
    refused = running.chat(*long, {"role": "king", "content": "hi"}, stream=True)
    assert (refused.status, refused.error["param"]) == (400, "messages[2].role"), refused.body
    assert "`messages[2].role` is none of" in refused.error["message"]


def test_many_messages_are_taken_apart_beside_the_server(running: Chatting) -> None:
    asked = [{"role": "user" if place % 2 == 0 else "assistant", "content": "x"} for place in range(30_001)]
    assert running.chat(*asked).status == 200
    assert len(running.stub.body["messages"]) == 30_001
