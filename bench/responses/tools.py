"""Calls of tools in responses: what one costs beside the tool's own time, and many streams with a call each."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from typing import Any, Final

from bench import client
from bench.client import Load
from bench.measure import compared_loads
from bench.processes import Running
from bench.scenarios import posts
from bench.tool_answers import QUICK

_GROUP: Final = "bench"
_MODEL: Final = "scripted"
_MANY: Final = 33
_DONE: Final = b"event: response.completed"
_SECONDS: Final = 120.0


def with_tools(config: dict[str, Any], upstream: int) -> None:
    """Add a model that calls tools, and the server of tools at the port `upstream`, to a configuration."""
    config["apis"].append("tool_runtime")
    config["providers"]["inference"].append({"provider_id": "echo", "provider_type": "inline::echo"})
    servers = {"provider_id": "mcp", "provider_type": "remote::model-context-protocol"}
    config["providers"]["tool_runtime"] = [servers]
    endpoint = {"uri": f"http://127.0.0.1:{upstream}/mcp"}
    config["tool_groups"] = [{"toolgroup_id": _GROUP, "provider_id": "mcp", "mcp_endpoint": endpoint}]
    config["models"].append({"model_id": _MODEL, "provider_id": "echo"})


async def call_milliseconds(server: Running, tokens: Sequence[str], seconds: float, turns: int) -> float:
    """Return the processor time of one more call in a response, the policy's decisions about it included."""
    loaded = {
        str(calls): (server, Load(_calling(calls, tokens, store=False), 200, b'"type":"mcp_call"'))
        for calls in (1, _MANY)
    }
    found = await compared_loads(loaded, connections=1, seconds=seconds, turns=turns)
    return (found[str(_MANY)].median("server_cpu") - found["1"].median("server_cpu")) / (_MANY - 1)


async def streams_without_end(server: Running, tokens: Sequence[str], streams: int) -> int:
    """Return how many of so many streams at once, each with a call of a tool, don't come to their end."""
    load = Load(_calling(1, tokens, stream=True), 200, _DONE)
    sample = await client.run(server.port, load, connections=streams, seconds=_SECONDS, most=1)
    return streams - len(sample.whole)


def _calling(calls: int, tokens: Sequence[str], **more: bool) -> list[bytes]:
    script = {"tool_calls": [{"name": f"s__{QUICK}", "arguments": {"text": "x"}}] * calls, "then": {"content": "done"}}
    tool = {
        "type": "mcp",
        "server_label": "s",
        "connector_id": _GROUP,
        "require_approval": "never",
        "allowed_tools": [QUICK],
    }
    return posts(
        "/v1/responses", tokens, {"model": f"echo/{_MODEL}", "input": dumps({"echo": script}), "tools": [tool], **more}
    )
