"""The memory that programs of tools have together: which of them end where it is too much."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from server.fairness.caller import Caller
from server.mcp import memory
from server.mcp.faults import McpFailed
from server.mcp.sessions import Sessions
from tests.support.mcp_client import ALICE, BOB
from tests.support.mcp_programs import call, gone, is_there, run
from tests.support.patience import PATIENCE

MIB: Final = 1024 * 1024
CAROL: Caller = ("principal", "https://issuer", "carol")


@dataclass(frozen=True, eq=False)
class Running:
    """A program that runs."""

    name: str
    caller: Caller
    is_called: bool = True
    launcher: int = 1

    def give_up(self) -> None:
        """Nothing is there."""


IDLE = [Running("a", ALICE, is_called=False), Running("b", BOB, is_called=False), Running("c", CAROL, is_called=False)]
CALLED = [Running("A", ALICE), Running("AA", ALICE), Running("B", BOB), Running("C", CAROL)]


@pytest.mark.parametrize(
    ("sizes", "most", "names"),
    [
        ((10, 20, 30, 1, 1, 1, 1), 64, []),
        ((10, 20, 30, 1, 1, 1, 1), 63, ["c"]),
        ((10, 20, 30, 1, 1, 1, 1), 33, ["c", "b"]),
        # Idle ones are not enough: the caller with most gives way, and no other one.
        ((1, 1, 1, 50, 40, 80, 7), 170, ["A"]),
        ((1, 1, 1, 50, 40, 80, 7), 100, ["A", "B"]),
        ((1, 1, 1, 50, 60, 80, 7), 100, ["AA", "B"]),
    ],
)
def test_which_programs_end(sizes: tuple[int, ...], most: int, names: list[str]) -> None:
    found = memory.ways(dict(zip([*IDLE, *CALLED], sizes, strict=True)), most)
    assert [each.name for each in found] == names


async def kept(sessions: Sessions, group: str, owner: Caller, size: int) -> int:
    """A program that keeps so many megabytes."""
    pid = int(await call(sessions, "process", group, owner))
    assert await call(sessions, "keeps", group, owner, text=str(size * MIB))
    return pid


def test_a_program_makes_way_where_all_have_too_much() -> None:
    async def course(sessions: Sessions) -> None:
        other = int(await call(sessions, "process", owner=BOB))
        first = await kept(sessions, "one", ALICE, 150)
        await asyncio.sleep(memory.LOOK_SECONDS * 3)
        assert is_there(first)
        second = await kept(sessions, "two", ALICE, 250)
        # If the second one is still called by then, the first one is without a call.
        async with asyncio.timeout(PATIENCE):
            while is_there(first) and is_there(second):  # noqa: ASYNC110 - nothing tells of the end of it
                await asyncio.sleep(0.01)
        await asyncio.sleep(memory.LOOK_SECONDS * 3)
        assert (is_there(first) or is_there(second), is_there(other)) == (True, True)
        for group in ("one", "two"):
            assert await call(sessions, "echo", group, text="anew") == "anew"

    run(course, memory=350 * MIB)


@pytest.mark.parametrize("tells", [True, False])
def test_a_call_of_the_caller_with_most_fails_and_no_other_one(tells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not tells:
        monkeypatch.setattr(memory, "_THREADS", Path("/no/such/file"))

    async def course(sessions: Sessions) -> None:
        other = asyncio.create_task(call(sessions, "never", owner=BOB))
        greedy = int(await call(sessions, "process"))
        under_way = asyncio.create_task(call(sessions, "never"))
        # What children of a program have counts as well, also of those with sessions of their own.
        pids = json.loads(await call(sessions, "hides", text=str(60 * MIB)))
        with pytest.raises(McpFailed, match="more memory than they may have together"):
            await under_way
        await gone(greedy, *pids)
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])

    run(course, memory=180 * MIB)


def test_memory_that_processes_share_counts_once() -> None:
    async def course(sessions: Sessions) -> None:
        pid = await kept(sessions, "one", ALICE, 100)
        pids = json.loads(await call(sessions, "shares"))
        await asyncio.sleep(memory.LOOK_SECONDS * 3)
        assert all(map(is_there, [pid, *pids]))

    run(course, memory=200 * MIB)


def test_a_machine_has_memory() -> None:
    assert 64 * MIB < memory.part_of_machine() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
