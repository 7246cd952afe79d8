"""Providers that fail, each at the provider that the modest caller's chats go to, and large embeddings."""

from __future__ import annotations

from typing import Any, Final

from bench.neighbours.messages import chat, post
from bench.neighbours.scenario import Scenario
from bench.neighbours.scenarios.attacks import Make, left, repeated
from bench.upstream import BROKEN, DRIPPING, FAILING, HANGING, VECTORS

MOST_TEXTS: Final = 2_048

_LARGE_TEXT: Final = "word " * 800_000


def _chat(model: str, **more: Any) -> Make:
    return lambda script: chat(script.token, model, **more)


def embeddings(model: str, *texts: str) -> Make:
    """Return the maker of a request for the embeddings of these texts."""
    body = {"model": model, "input": texts, "encoding_format": "base64"}
    return lambda script: post("/v1/embeddings", script.token, body)


SCENARIOS: Final = [
    Scenario("chats with a provider that fails", repeated(_chat(FAILING))),
    Scenario("chats with a provider that hangs", repeated(_chat(HANGING))),
    Scenario("chats with a provider that hangs, left", left(_chat(HANGING), 0.05)),
    Scenario("answers byte by byte", repeated(_chat(DRIPPING))),
    Scenario("answers that break off", repeated(_chat(BROKEN))),
    Scenario("streams that break off", repeated(_chat(BROKEN, stream=True))),
    Scenario("embeddings of a text", repeated(embeddings(f"bench/{VECTORS}", "a few words"))),
    Scenario("embeddings of many texts", repeated(embeddings(f"bench/{VECTORS}", *["a few words"] * MOST_TEXTS))),
    Scenario("embeddings of a large text", repeated(embeddings(f"bench/{VECTORS}", _LARGE_TEXT))),
    Scenario(
        "embeddings of many texts that are left",
        left(embeddings(f"bench/{VECTORS}", *["a few words"] * MOST_TEXTS), 0.1),
    ),
]
