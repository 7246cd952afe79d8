"""Shields with `on_error: allow`: texts pass when one has failed, loudly, but never where a rule requires it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.inference.breaker import FAILURES as FAILURES_IN_A_ROW
from tests.support.callers import ADMIN, ALICE, BOB, STRANGER
from tests.support.safety_server import CONFIG, POLICY, Guarded, guarded, said
from tests.support.serving import Answer

SHIELD = """\
    - shield_id: open
      provider_id: llama-guard
      provider_shield_id: meta-llama/Llama-Guard-3-8B
      params: {on_error: allow}
"""
RULES = """
        - permit: {actions: [read], resource: "model::far/strict"}
          shields: [open]
""" + POLICY.replace('[create], resource: "shield::*"', "[create]")
TEXT = CONFIG.replace(
    "    - {model_id: gpt,", "    - {model_id: strict, provider_id: far}\n    - {model_id: gpt,"
).replace("    safety: {", f"{SHIELD}    safety: {{")
OPEN = {"guardrails": ["open"]}


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("lenient"), text=TEXT, policy=RULES) as server:
        yield server


def chat(server: Guarded, text: str = "hi", model: str = "gpt", caller: str = ALICE, **more: Any) -> Answer:
    return server.post("/v1/chat/completions", {"model": model, "messages": [said(text)], **more}, caller)


def outcomes(server: Guarded, answer: Answer) -> list[tuple[str, str]]:
    lines = [line for line in server.house.log(answer.headers["x-request-id"]) if line["kind"] == "shield"]
    return [(line["direction"], line["outcome"]) for line in lines]


@pytest.mark.parametrize("stream", [False, True])
def test_texts_pass_unchecked_and_that_is_said_loudly(
    server: Guarded, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server.judge.answer = "I can't say"
    answer = chat(server, stream=stream, **OPEN)
    assert answer.status == 200
    assert b"shield" not in answer.body
    assert outcomes(server, answer) == [("input", "unchecked"), ("output", "unchecked")]
    loud = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert loud == ["the shield `open` lets texts pass unchecked, as its `on_error` says"] * 2
    metrics = server.house.address.get("/metrics", ADMIN)
    if metrics.status == 200:
        assert b'shield="open",direction="input",outcome="unchecked"' in metrics.body.replace(b" ", b"")


@pytest.mark.parametrize("stream", [False, True])
def test_a_verdict_holds(server: Guarded, stream: bool) -> None:
    answer = chat(server, "a bomb", stream=stream, **OPEN)
    assert b"content_filter" in answer.body
    assert outcomes(server, answer) == [("input", "flagged")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [{}, OPEN, {"moderation": {"model": "open"}}])
def test_nothing_passes_one_that_a_rule_requires(server: Guarded, stream: bool, asked: dict[str, Any]) -> None:
    server.judge.answer = "I can't say"
    answer = chat(server, model="strict", stream=stream, **asked)
    assert (answer.status, answer.error["code"], server.judge.chats) == (503, "shield_unavailable", [])


def test_what_is_too_long_or_can_not_be_read_does_not_pass(server: Guarded) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": "gpt", "messages": [said([{"type": "text", "text": "hi"}, image])], **OPEN}
    assert server.post("/v1/chat/completions", body).error["code"] == "not_checked"
    assert chat(server, "x" * 600_000, **OPEN).error["code"] == "text_too_long"
    assert server.judge.chats == []


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_refuses_to_judge_does_not_pass(server: Guarded, status: int, stream: bool) -> None:
    server.judge.status, server.judge.raw = status, b"{}"
    answer = chat(server, stream=stream, **OPEN)
    assert (answer.status, answer.error["code"], server.judge.chats) == (503, "shield_unavailable", [])


def test_the_failures_of_one_caller_let_no_other_text_pass(server: Guarded) -> None:
    server.judge.status, server.judge.raw = 500, b"{}"
    for _ in range(2 * FAILURES_IN_A_ROW):
        assert chat(server, caller=BOB, **OPEN).status == 200
    asked = len(server.judge.asked)
    server.judge.renew()
    # Each of them was a failure on both sides, until the breaker was open for this caller.
    assert FAILURES_IN_A_ROW <= asked <= FAILURES_IN_A_ROW + 1
    unchecked = chat(server, "a bomb", caller=BOB, **OPEN)
    assert outcomes(server, unchecked) == [("input", "unchecked"), ("output", "unchecked")]
    assert chat(server, "a bomb", model="strict", caller=BOB).status == 503
    assert server.judge.asked == []
    for caller in (ALICE, STRANGER):
        answer = chat(server, "a bomb", caller=caller, **OPEN)
        assert b"content_filter" in answer.body
        assert outcomes(server, answer) == [("input", "flagged")]


def test_checks_by_name_never_take_a_failure_for_a_verdict(server: Guarded) -> None:
    server.judge.answer = "I can't say"
    assert server.run("open", said("hi")).error["code"] == "shield_unavailable"
    answer = server.post("/v1/moderations", {"input": "hi", "model": "open"})
    assert answer.error["code"] == "shield_unavailable"


def test_results_say_that_there_was_no_verdict(server: Guarded) -> None:
    server.judge.answer = "I can't say"
    policy = {side: {"mode": "block"} for side in ("input", "output")}
    told = chat(server, moderation={"model": "open", "policy": policy}).json["moderation"]
    assert [told[side]["code"] for side in ("input", "output")] == ["shield_unavailable"] * 2


FAILURES: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "raw": b"{}"},
    "429": {"status": 429, "raw": b"{}"},
    "empty": {"raw": b""},
    "html": {"raw": b"<html>"},
    "cut": {"raw": b'{"choices": [{"index": 0, "mess'},
    "no choices": {"raw": b"{}"},
    "nested": {"raw": b"[" * 100_000},
    "10 MB": {"raw": b'{"choices": [' + b" " * 10_000_000 + b"]}"},
    "both": {"answer": "safe\nunsafe"},
    "closed": {"breaks": True},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_fails_on_either_side_blocks(server: Guarded, failure: str, good: int, stream: bool) -> None:
    for name, value in {**FAILURES[failure], "good": good}.items():
        setattr(server.judge, name, value)
    answer = chat(server, "canary", model="strict", stream=stream)
    assert len(server.judge.chats) == good
    assert b"you say" not in answer.body
    assert b"canary" not in answer.body
    assert b"shield_unavailable" in answer.body
    assert answer.status == 503 or (good == 1 and stream)


@pytest.mark.parametrize("stream", [False, True])
def test_an_output_passes_unchecked_too(server: Guarded, stream: bool) -> None:
    server.judge.good, server.judge.answer = 1, "I can't say"
    answer = chat(server, stream=stream, **OPEN)
    assert outcomes(server, answer) == [("input", "passed"), ("output", "unchecked")]
