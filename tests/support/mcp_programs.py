"""Sessions with programs that are servers of tools, as tests use them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from server.fairness.caller import CURRENT, Caller
from server.json_input.reader import Reader
from server.mcp.programs import Program, program_address
from server.mcp.sessions import Sessions
from server.mcp.wire import Server, Wire
from server.net.outbound import Reach
from tests.support import mcp_program
from tests.support.mcp_client import ALICE
from tests.support.patience import PATIENCE

COMMAND = (sys.executable, "-I", mcp_program.__file__ or "")
PROGRAMS = {
    "one": Program(COMMAND, {"TOKEN": "word"}),
    "two": Program(COMMAND),
    "stays": Program((*COMMAND, "stays")),
    "small": Program(COMMAND, most_memory=200 * 1024 * 1024),
    "gone": Program(("/no/such/program",)),
    "mute": Program(("/bin/sleep", "600")),
}


@asynccontextmanager
async def running(memory: int | None = None) -> AsyncIterator[Sessions]:
    """Sessions with these programs alone, which have at most that much `memory` together."""
    reader = Reader()
    programs = {program_address(name): program for name, program in PROGRAMS.items()}
    sessions = Sessions(Wire(Reach(), reader, programs=programs, program_memory=memory))
    async with sessions.running():
        yield sessions
    assert (sessions.wire.processes.used, sessions.wire.processes.called) == (0, 0)
    await reader.close()


def run(course: Callable[[Sessions], Awaitable[None]], memory: int | None = None) -> None:
    """Run a course with such sessions, whose programs have at most that much `memory` together."""

    async def whole() -> None:
        async with running(memory) as sessions:
            await course(sessions)

    asyncio.run(whole())


async def call(
    sessions: Sessions, name: str, group: str = "one", owner: Caller | None = ALICE, **arguments: str
) -> str:
    """The text that a call of a tool comes to."""
    CURRENT.set(owner or ("address",))
    async with sessions.using(owner, Server(program_address(group), {})) as session:
        return (await session.call(name, arguments)).text


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and isn't waited for doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(*pids: int) -> None:
    """Return once these processes have ended."""
    async with asyncio.timeout(PATIENCE):
        while any(map(is_there, pids)):  # noqa: ASYNC110 - nothing tells of the end of another one's child
            await asyncio.sleep(0.01)
