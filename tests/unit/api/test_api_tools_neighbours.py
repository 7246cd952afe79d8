"""The list of the tools of all groups, of which there may be tens of thousands: it is made in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from policy.vocabulary import Resource
from server.api.tools.groups import Group
from server.api.tools.routes import MOST_GROUPS, ToolRoutes
from server.api.tools.sources import KnownTool
from server.fairness import places


@dataclass
class Permitted:
    resource: Resource


class Gate:
    """Permits every tool but those of one name; `turns` of the event loop are counted before it is asked."""

    def __init__(self) -> None:
        self.turns = 0
        self.turns_before = 0

    async def count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def listed(self, kind: str, resources: Sequence[Resource]) -> list[Permitted]:
        self.turns_before = self.turns
        return [Permitted(each) for each in resources if not each.names[0].endswith("/t1")]


def test_a_long_list_of_tools_is_made_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "STEP_SECONDS", 0.0)
    groups = [Group(Resource("tool_group", (f"g{number}",)), "mcp", "u") for number in range(MOST_GROUPS)]
    tools = [KnownTool(f"t{number}", None, {}) for number in range(3)]
    gate = Gate()

    async def go() -> list[dict[str, Any]]:
        counting = asyncio.create_task(gate.count())
        shown = await ToolRoutes(None, {})._readable(gate, [(group, tools) for group in groups])  # type: ignore[arg-type]
        counting.cancel()
        return shown

    shown = asyncio.run(go())
    assert [(each["toolgroup_id"], each["name"]) for each in shown] == [
        (group.name, name) for group in groups for name in ("t0", "t2")
    ]
    assert gate.turns_before >= len(groups) - 1
    assert gate.turns - gate.turns_before >= len(shown) - 1
