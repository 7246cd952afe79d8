"""Responses in the background: as many as are taken, with and without stored events."""

from __future__ import annotations

from typing import Final

from bench.neighbours.messages import post
from bench.neighbours.scenario import Scenario, Script
from bench.neighbours.scenarios.attacks import numbered
from bench.neighbours.settings import Setting
from bench.upstream import LONG

_RESPONSES: Final = "/v1/responses"


def _later(script: Script, text: str) -> bytes:
    """Ask for a response that is answered later."""
    return post(_RESPONSES, script.token, {"model": "bench/fast", "input": text, "background": True})


def _streamed(script: Script, text: str) -> bytes:
    """Ask for one with thousands of events, which are stored."""
    body = {"model": f"bench/{LONG}", "input": text, "background": True, "stream": True}
    return post(_RESPONSES, script.token, body)


SCENARIOS: Final = [
    Scenario("responses in the background", numbered(_later), setting=Setting.AGENTS, kept=True),
    Scenario("streams in the background", numbered(_streamed), setting=Setting.AGENTS, kept=True),
]
