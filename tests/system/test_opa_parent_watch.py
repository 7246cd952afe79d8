"""What ends OPA together with the server where the kernel doesn't."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.authz.opa import parent_watch
from tests.support.opa_server import world, write_bundle
from tests.support.ostiary_run import alive, children, command_line, eventually, gone

PARENT = """
import asyncio, sys
sys.path[:0] = [{root!r}]
from server.authz.opa.parent_watch import ParentWatch

async def main():
    nothing = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec("sleep", "1000", stdin=nothing, stdout=nothing)
    guard = await ParentWatch.of(child.pid)
    print(child.pid, flush=True)
    if {dismissed}:
        await guard.dismiss()
        print("dismissed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def started(*, dismissed: bool) -> tuple[subprocess.Popen[str], int]:
    """A process with a child that has a watch, and the child's id."""
    script = PARENT.format(root=str(Path(__file__).parents[2]), dismissed=dismissed)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if dismissed:
        assert parent.stdout.readline() == "dismissed\n"
    return parent, child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_ends_takes_the_child_along(number: signal.Signals) -> None:
    parent, child = started(dismissed=False)
    everything = children(parent.pid)
    assert child in everything
    parent.send_signal(number)
    parent.communicate()
    assert gone(everything)


def test_after_a_dismissal_no_process_is_killed() -> None:
    parent, child = started(dismissed=True)
    assert eventually(lambda: children(parent.pid) == [child])
    parent.kill()
    parent.communicate()
    assert alive(child)
    os.kill(child, signal.SIGKILL)


def test_opa_has_one_where_the_kernel_does_not_help(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent_watch, "NEEDED", True)

    def companions() -> list[str]:
        lines = map(command_line, children(os.getpid()))
        return [line.split()[-1] for line in lines if " companion " in line]

    async def main() -> None:
        async with world(opa_binary, tmp_path, write_bundle(tmp_path / "bundle.tar.gz")) as here:
            first = here.opa.pid
            assert first is not None
            assert companions() == [str(first)]
            os.kill(first, signal.SIGKILL)
            assert await asyncio.to_thread(eventually, lambda: here.opa.pid not in (None, first))
            assert await asyncio.to_thread(eventually, lambda: companions() == [str(here.opa.pid)])
        assert companions() == []

    asyncio.run(main())
