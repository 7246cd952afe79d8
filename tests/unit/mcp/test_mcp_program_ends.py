"""How programs of tools end, with all that they have started."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal

import pytest

from server.mcp.programs import ProgramProcess
from server.mcp.sessions import Sessions
from tests.support.mcp_programs import PROGRAMS, call, gone, is_there, run
from tests.support.patience import PATIENCE

_PR_SET_CHILD_SUBREAPER = 36


@pytest.mark.parametrize("group", ["one", "stays"])
def test_a_program_ends_with_its_session_and_takes_along_what_it_has_started(group: str) -> None:
    pids = list[int]()

    async def course(sessions: Sessions) -> None:
        names = ("process", "child", "escapes")
        pids.extend([int(await call(sessions, name, group)) for name in names])
        assert all(map(is_there, pids))

    run(course)
    asyncio.run(gone(*pids))


STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN)
ENDS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM)


@pytest.mark.parametrize("reaps", [False, True])
@pytest.mark.parametrize("sent", [(), *((number,) for number in STOPS), ENDS])
def test_a_program_ends_with_the_server_whatever_it_has_sent_to_its_launcher(
    sent: tuple[int, ...], reaps: bool
) -> None:
    """Where another process of the session takes its orphans, the system continues no launcher that is stopped."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        if reaps:
            _take_orphans(theirs)

        async def course(sessions: Sessions) -> None:
            pids = [await call(sessions, name, "stays") for name in ("process", "escapes")]
            for number in sent:
                await call(sessions, "signals", "stays", text=str(int(number)))
            os.write(theirs, " ".join(pids).encode())
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            run(course)
        finally:
            os._exit(1)
    os.close(theirs)
    pids = [*map(int, os.read(ours, 40).split())]
    os.close(ours)
    try:
        assert len(pids) == 2
        asyncio.run(gone(*pids))
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(child, 0)


def _take_orphans(closed: int) -> None:
    """Go on in a child; this process takes its orphans, and ends once they have, or some time after a test fails."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.fork():
        os.close(closed)
        signal.alarm(int(PATIENCE) + 10)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        os._exit(0)


def test_a_launcher_that_is_stopped_ends_nevertheless() -> None:
    async def course() -> None:
        process = await ProgramProcess.start(PROGRAMS["stays"])
        os.kill(process._process.pid, signal.SIGSTOP)
        await process.end()
        assert not is_there(process._process.pid)

    asyncio.run(course())


def test_a_program_whose_end_is_cancelled_is_killed() -> None:
    async def course() -> None:
        process = await ProgramProcess.start(PROGRAMS["mute"])
        ending = asyncio.create_task(process.end())
        await asyncio.sleep(0)
        ending.cancel()
        assert await asyncio.gather(ending, return_exceptions=True)
        await gone(process._process.pid)

    asyncio.run(course())
