"""Ends of the child process of `inline::llama-cpp`: it is killed, stops, crashes, or its parent ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.config.local_models import packaged_model
from server.inference.providers.llama_cpp import process
from server.inference.providers.llama_cpp.process import ModelAbsent, ModelFile, ModelProcess
from tests.support.model_process import running, until
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model() -> Path:
    found = packaged_model()
    assert found is not None
    return found


def test_a_child_that_is_killed_is_replaced_whatever_it_did(model: Path) -> None:
    async def use(made: ModelProcess) -> None:
        pids = set[int]()
        await until(lambda: made.pid is not None)
        for step in ("loading", "serving"):
            if step == "serving":
                await made.ready()
            assert made.pid is not None
            pids.add(made.pid)
            os.kill(made.pid, signal.SIGKILL)
            await until(lambda: made.pid not in pids)
            assert made.absent is not None
            assert "signal 9" in made.absent
        await made.ready()
        assert made.absent is None
        assert made.pid not in pids

    running(ModelFile(model, context=256, parallel=1), use)


def test_a_child_that_computes_nothing_is_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BEAT_SECONDS", 0.05)

    async def use(made: ModelProcess) -> None:
        await made.ready()
        first = made.pid
        assert first is not None
        assert (os.getsid(first), os.getpgid(first)) == (os.getsid(0), first)  # one scheduling group with the server
        assert first is not None
        await asyncio.sleep(0.3)
        assert made.pid == first  # it answers, so it goes on
        monkeypatch.setattr(process, "STUCK_SECONDS", 0.2)
        os.kill(first, signal.SIGSTOP)
        await until(lambda: made.pid != first)
        assert made.absent == "has a model that has not answered for 0 s"
        monkeypatch.setattr(process, "STUCK_SECONDS", 60.0)
        await made.ready()
        assert made.pid not in (None, first)

    running(ModelFile(model, context=256, parallel=1), use)


def test_a_child_that_always_crashes_is_started_a_few_times_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(child_command(), "_COMMAND", (sys.executable, "-I", "-S", "-c", "import os; os.abort()"))
    starts = list[int]()

    async def use(made: ModelProcess) -> None:
        while made._living is not None and not made._living.done():
            if made.pid is not None and made.pid not in starts:
                starts.append(made.pid)
            await asyncio.sleep(0)
        assert made.absent == "lost the process that loads its model (signal 6)"
        with pytest.raises(ModelAbsent):
            await made.ready()
        assert made.pid is None

    running(ModelFile(tmp_path), use)
    assert len(starts) == 1 + process.MOST_RESTARTS


def child_command() -> object:
    from server.inference.providers.llama_cpp import child_process

    return child_process


PARENT = """
import asyncio, sys
from pathlib import Path
from server.inference.providers.llama_cpp.process import ModelFile, ModelProcess

async def main():
    made = ModelProcess("local", ModelFile(Path(sys.argv[1]), context=256, parallel=1))
    made.begin()
    while made.pid is None:
        await asyncio.sleep(0.01)
    if sys.argv[2] == "serving":
        await made.ready()
    print(made.pid, made.socket, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("step", ["loading", "serving"])
def test_a_child_ends_with_a_parent_that_is_killed(model: Path, step: str) -> None:
    command = [sys.executable, "-c", PARENT, str(model), step]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid, socket = parent.stdout.readline().split()
        watched = os.pidfd_open(int(pid))
        try:
            parent.kill()
            asyncio.run(_closed(watched))
        finally:
            os.close(watched)
        directory = Path(socket).parent
        if step == "serving":
            assert not directory.exists()
        else:
            shutil.rmtree(directory)


async def _closed(watched: int) -> None:
    """Return when the process has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, ended.set)
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
