"""Calls of tools seen from outside: signs of life while they work, and a count of how they ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from server.api.responses.server_tools import keep_alive, rounds
from server.api.responses.server_tools.keep_alive import with_keep_alives
from server.telemetry.tool_counters import ToolCounters
from tests.support.scripted_tools import Tool, said
from tests.unit.api.test_api_responses_rounds import run


def test_a_stream_tells_that_it_goes_on_while_a_tool_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "SILENT_SECONDS", 0.01)

    async def slow(arguments: str) -> str:
        await asyncio.sleep(0.1)
        return arguments

    found = run([said(None, ("look", "1")), said("done")], Tool(slow))
    assert found.signs > 1
    assert [event["sequence_number"] for event in found.events] == [*range(len(found.events))]
    assert run([said(None, ("look", "1")), said("done")], Tool()).signs == 0


def test_signs_end_with_what_they_stand_for() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError

    async def course() -> None:
        came = list[int | None]()
        with pytest.raises(ValueError):
            async for each in with_keep_alives(failing()):
                came.append(each)
        assert came == [1]

    asyncio.run(course())


def test_calls_are_counted_by_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "CALL_SECONDS", 0.05)
    ends = Counter[tuple[str, str]]()

    async def never(arguments: str) -> str:
        await asyncio.sleep(5)
        return arguments

    def fails(arguments: str) -> str:
        raise ValueError(arguments)

    for does in (str, never, fails):
        answers = [said(None, ("look", "1"), ("look", "2")), said("done")]
        run(answers, Tool(does), counted=lambda kind, end: ends.update([(kind, end)]))
    assert ends == {("mcp_call", end): 2 for end in ("completed", "too_slow", "failed")}


def test_no_name_becomes_a_label() -> None:
    registry = CollectorRegistry()
    counters = ToolCounters(registry)
    counters.called("mcp_call", "completed")
    counters.called("a tool", "completed")
    counters.called("", "left")
    found = [sample for metric in registry.collect() for sample in metric.samples if sample.name.endswith("_total")]
    assert len(found) == 12
    assert [sample.labels for sample in found if sample.value] == [{"kind": "mcp", "outcome": "completed"}]
