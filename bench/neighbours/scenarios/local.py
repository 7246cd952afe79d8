"""Models that run beside the server: one out of a file in a child process, and one for embeddings in threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.neighbours.messages import post
from bench.neighbours.scenario import Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import left, repeated
from bench.neighbours.scenarios.providers import MOST_TEXTS, embeddings
from bench.neighbours.settings import LOCAL_CHAT, LOCAL_TEXTS, Setting

_QUESTION: Final = [{"role": "user", "content": "Say something."}]
_LARGE_TEXT: Final = "word " * 25_000


def _chat_of(token: str, tokens: int) -> bytes:
    body = {"model": LOCAL_CHAT, "messages": _QUESTION, "max_tokens": tokens}
    return post("/v1/chat/completions", token, body)


def _chat(script: Script) -> bytes:
    return _chat_of(script.token, 64)


def _loaded(stage: Stage) -> Mapping[str, Any]:
    """Return once both models have answered, so that loading them is no part of the runs."""
    stage.ask(_chat_of(stage.token, 1))
    stage.ask(embeddings(LOCAL_TEXTS, "word")(Script(stage.issuer, 0, {})))
    return {}


SCENARIOS: Final = [
    Scenario("chats with a local model", repeated(_chat), _loaded, Setting.LOCAL),
    Scenario("chats with a local model that are left", left(_chat, 0.05), _loaded, Setting.LOCAL),
    Scenario(
        "many local embeddings",
        repeated(embeddings(LOCAL_TEXTS, *["a few words"] * MOST_TEXTS)),
        _loaded,
        Setting.LOCAL,
    ),
    Scenario(
        "local embeddings of large texts",
        repeated(embeddings(LOCAL_TEXTS, *[_LARGE_TEXT] * 8)),
        _loaded,
        Setting.LOCAL,
    ),
]
