"""Streams and large answers, read and unread, and chats that are stored."""

from __future__ import annotations

from typing import Any, Final

from bench.neighbours.messages import chat, post
from bench.neighbours.scenario import Scenario
from bench.neighbours.scenarios.attacks import Make, left, repeated, unread
from bench.neighbours.settings import ECHO
from bench.upstream import BULKY, LONG, PACED

_STORED: Final[dict[str, Any]] = {"store": True, "metadata": {"topic": "neighbours"}}


def _chat(model: str, **more: Any) -> Make:
    return lambda script: chat(script.token, model, **more)


def _echo(words: int, *, stream: bool) -> Make:
    question = [{"role": "user", "content": "word " * words}]
    body = {"model": ECHO, "messages": question, "stream": stream}
    return lambda script: post("/v1/chat/completions", script.token, body)


_LONG: Final = _chat(LONG, stream=True)

SCENARIOS: Final = [
    Scenario("streams of fast chunks", repeated(_LONG)),
    Scenario("short streams", repeated(_chat("fast", stream=True))),
    Scenario("streams of the echo", repeated(_echo(2000, stream=True))),
    Scenario("short streams of the echo", repeated(_echo(5, stream=True))),
    Scenario("chats with the echo", repeated(_echo(1000, stream=False))),
    Scenario("unread streams", unread(_LONG)),
    Scenario("streams that are left", left(_LONG, 0.05)),
    Scenario("large answers of a provider", repeated(_chat(BULKY))),
    Scenario("unread large answers of a provider", unread(_chat(BULKY))),
    Scenario("stored chats", repeated(_chat("fast", **_STORED)), kept=True),
    Scenario("stored streams", repeated(_chat(PACED, stream=True, **_STORED)), kept=True),
    Scenario("stored long streams", repeated(_chat(LONG, stream=True, **_STORED)), kept=True),
    Scenario("stored streams that are left", left(_chat(PACED, stream=True, **_STORED), 0.05), kept=True),
]
