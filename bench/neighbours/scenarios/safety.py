"""Shields that hang, and moderations of many texts."""

from __future__ import annotations

from typing import Any, Final

from bench.neighbours.messages import chat, post
from bench.neighbours.scenario import Scenario
from bench.neighbours.scenarios.attacks import Make, left, repeated
from bench.neighbours.settings import HUNG_SHIELD, SHIELD, Setting
from server.api.safety.body import MOST_INPUTS

_MANY: Final = 2_048
_LARGE: Final = "é\u200b" * 1_500


def _chat(shield: str, **more: Any) -> Make:
    return lambda script: chat(script.token, guardrails=[shield], **more)


def _moderations(shield: str, *texts: str) -> Make:
    body = {"model": shield, "input": texts}
    return lambda script: post("/v1/moderations", script.token, body)


SCENARIOS: Final = [
    Scenario("chats whose shield hangs", repeated(_chat(HUNG_SHIELD)), setting=Setting.SHIELDS),
    Scenario("chats whose shield hangs, left", left(_chat(HUNG_SHIELD, stream=True), 0.05), setting=Setting.SHIELDS),
    Scenario("moderations whose shield hangs", repeated(_moderations(HUNG_SHIELD, "hi")), setting=Setting.SHIELDS),
    Scenario(
        f"moderations of {_MANY:,} texts", repeated(_moderations(SHIELD, *["hi"] * _MANY)), setting=Setting.SHIELDS
    ),
    Scenario(
        "moderations of many large texts",
        repeated(_moderations(SHIELD, *[_LARGE] * MOST_INPUTS)),
        setting=Setting.SHIELDS,
    ),
]
