"""Budgets of tokens in front of providers that don't report usage, report it unasked, or refuse in their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.budgeted_server import RESERVED, budgeted, chat, left, stream
from tests.support.identity_services import Asked, service

STREAM = {"content-type": "text/event-stream"}
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
OVERFLOW = {"error": {"message": "This model's maximum context length is 5 tokens", "code": "context_length_exceeded"}}


def said(text: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more}


def sending(*documents: Any) -> Any:
    body = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in documents) + b"data: [DONE]\n\n"
    return lambda _asked: (200, body, STREAM)


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Unknown parameter", "param": "stream_options", "code": "unknown_parameter"}},
        {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]},
        {"message": "include_usage is not supported"},
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_provider_that_refuses_to_report_usage_is_asked_without(
    refusal: Any, status: int, opa_binary: Path, tmp_path: Path
) -> None:
    def reply(asked: Asked) -> Any:
        if "stream_options" in json.loads(asked.body):
            return status, refusal
        return 200, stream(asked, ...), STREAM

    with service(reply) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for number in (1, 2):
            answer = chat(running, stream=True, max_completion_tokens=1)
            assert (answer.status, answer.body.count(b'"content"')) == (200, 3)
            # What was set aside is paid.
            assert left(running) == 100 - number * (RESERVED + 1)
        assert ["stream_options" in json.loads(asked.body) for asked in far.asked] == [True, False, False]
        # What the caller itself asks for is refused to the caller.
        assert chat(running, stream=True, stream_options={"include_usage": True}).status == 400


def test_usage_that_was_not_asked_for_is_seen_nowhere(opa_binary: Path, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    reply = sending(said("a", usage=None), said("b", usage=usage), said("", "stop", usage=usage))
    with service(reply) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        answer = chat(running, stream=True)
        assert (answer.status, b"usage" in answer.body, answer.body.count(b'"content"')) == (200, False, 3)
        assert left(running) == 70
        assert chat(running, stream=True, stream_options={"include_usage": True}).body.count(b'"total_tokens"') == 2


@pytest.mark.parametrize(("before", "cost"), [(0, 0), (2, 3)])
def test_a_refusal_inside_of_a_stream_costs_what_has_come(
    before: int, cost: int, opa_binary: Path, tmp_path: Path
) -> None:
    reply = sending(*[said("x")] * cost, OVERFLOW) if before else sending(OVERFLOW)
    with service(reply) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        assert chat(running, stream=True).status == (200 if before else 400)
        assert left(running) == 100 - cost


def test_a_refusal_in_the_place_of_an_answer_costs_nothing(opa_binary: Path, tmp_path: Path) -> None:
    with (
        service(lambda _asked: (200, OVERFLOW, {"content-type": "application/json"})) as far,
        budgeted(far.url, opa_binary, tmp_path) as running,
    ):
        assert chat(running).error["code"] == "context_length_exceeded"
        assert left(running) == 100
