"""Responses whose models call tools of a server."""

from __future__ import annotations

from json import dumps
from typing import Final

from bench.neighbours.messages import post
from bench.neighbours.scenario import Scenario, Script
from bench.neighbours.scenarios.attacks import Make, left, repeated
from bench.neighbours.settings import ECHO, TOOL_GROUP, Setting
from bench.tool_answers import BULKY, QUICK, STALLED

_CALLS: Final = 32


def _calling(name: str) -> Make:
    """Return the maker of a request for a response that calls a tool many times, and then as many times again."""
    calls = {"tool_calls": [{"name": f"s__{name}", "arguments": {"text": "x"}}] * _CALLS}

    def make(script: Script) -> bytes:
        tool = {"type": "mcp", "server_label": "s", "connector_id": TOOL_GROUP, "require_approval": "never"}
        body = {"model": ECHO, "input": dumps({"echo": {**calls, "then": calls}}), "tools": [tool], "store": False}
        return post("/v1/responses", script.token, body)

    return make


SCENARIOS: Final = [
    Scenario("responses that call tools", repeated(_calling(QUICK)), setting=Setting.TOOLS),
    Scenario("responses whose tools answer at length", repeated(_calling(BULKY)), setting=Setting.TOOLS),
    Scenario("responses whose tools never answer, left", left(_calling(STALLED), 0.2), setting=Setting.TOOLS),
]
