"""Stored events: what a batch holds of a stream, and the output that events tell of a response without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from server.api.responses.background import kept_events
from server.api.responses.background.kept_events import Batch, KeptEvents
from server.api.responses.happenings import Begun, Called, Ended, Happening, Queued, Said, Thought, ToolBegun, ToolEnded
from server.api.responses.loop import step
from server.api.responses.response_stream import event_text
from server.api.responses.state import State
from server.storage.database.counting import PARTS
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened

HEAD = {"id": "resp_0", "object": "response", "model": "m", "metadata": {}}
ONE = "resp_one"


def course(*happenings: Happening) -> tuple[State, list[dict[str, Any]]]:
    state, events = State(HEAD, ("0" * 48, 0), {}), list[dict[str, Any]]()
    for happening in happenings:
        state, more = step(state, happening)
        events += more
    return state, events


def in_table(make: Make, done: Callable[[KeptEvents], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            records, parts = RecordTable(database, "answers"), RecordTable(database, "answers_parts")
            await bring_up_to_date(database, "answers", None)
            await bring_up_to_date(database, "answers_parts", "answers", PARTS)
            await database.write(records.inserting(Draft(ONE, {}).owned_by(None)))
            await done(KeptEvents(RecordParts(parts)))

    asyncio.run(worked())


async def stored(kept: KeptEvents, events: list[dict[str, Any]], size: int) -> None:
    """Store events in batches of that size."""
    for start in range(0, len(events), size):
        text = b"".join(map(event_text, events[start : start + size]))
        await kept._parts.records.database.write(kept.adding(ONE, Batch.of_stream(text, start), None))


async def told(kept: KeptEvents, after: int) -> bytes:
    text = b""
    while (found := await kept.next(ONE, after)) is not None:
        batch, turn = found
        turn.end()
        text, after = text + batch.told(after), batch.last
    return text


def test_events_are_told_as_they_came_from_any_number_on(make: Make) -> None:
    _, events = course(Queued(), Begun(), Said('a"\n\nevent: x'), Thought("b"), Said("c"), Ended(1))

    async def done(kept: KeptEvents) -> None:
        await stored(kept, events, 4)
        for after in range(-1, len(events)):
            assert await told(kept, after) == b"".join(map(event_text, events[after + 1 :]))

    in_table(make, done)


def test_the_output_so_far_is_what_events_tell(make: Make) -> None:
    state, events = course(
        Begun(), Thought("hm"), Said("a"), Said("b"), Called(0, "c", "f", "{}"), Called(1, "d", "g", "")
    )

    async def done(kept: KeptEvents) -> None:
        await stored(kept, events, 3)
        found = await kept.output(ONE)
        assert [item["id"] for item in found] == [item["id"] for item in state.output()]
        assert [item["status"] for item in found] == ["completed", "completed", "completed", "incomplete"]
        assert found[:3] == state.output()[:3]

    in_table(make, done)


def test_a_call_of_a_tool_that_was_under_way_has_failed(make: Make) -> None:
    members = {"server_label": "s", "name": "t", "arguments": "{}"}
    _, events = course(
        Begun(),
        ToolBegun(1, "mcp_call", members, ()),
        ToolEnded(1, "completed", {**members, "output": "x"}, (), ()),
        ToolBegun(2, "mcp_call", members, ()),
    )

    async def done(kept: KeptEvents) -> None:
        await stored(kept, events, 2)
        first, second = await kept.output(ONE)
        assert (first["status"], second["status"]) == ("completed", "failed")
        assert second["error"]["content"] == [{"type": "text", "text": "interrupted"}]

    in_table(make, done)


def test_events_are_dropped_in_steps(make: Make) -> None:
    _, events = course(Begun(), *[Said("a")] * 60, Ended(1))

    async def done(kept: KeptEvents) -> None:
        await stored(kept, events, 1)
        steps = 0
        while await kept.drop(ONE):
            steps += 1
        assert steps >= len(events) // kept_events._DROPPED_AT_ONCE - 1
        assert await told(kept, -1) == b""

    in_table(make, done)
