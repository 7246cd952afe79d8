"""The child process of `inline::llama-cpp`: files that can't be served, crashes, and the ends of both processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.config.local_models import packaged_model
from server.fairness.shares import FairShares
from server.inference.attachments import SENT, Attachments
from server.inference.provider import ChatRequest, Fault, HealthStatus, ProviderFailed
from server.inference.providers.llama_cpp import process
from server.inference.providers.llama_cpp.client import LlamaCpp
from server.inference.providers.llama_cpp.process import ModelAbsent, ModelFile, ModelProcess
from server.json_input.reader import Reader
from tests.support.gguf_files import head, untaught

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model() -> Path:
    found = packaged_model()
    assert found is not None
    return found


def running(file: ModelFile, use: Callable[[ModelProcess], Awaitable[None]]) -> None:
    """Begin a process for the model, use it, and see that nothing is left of it."""

    async def run() -> None:
        made = ModelProcess("local", file)
        made.begin()
        directory = made.socket.parent
        try:
            assert directory.stat().st_mode & 0o777 == 0o700
            await use(made)
        finally:
            pid = made.pid
            await made.stop()
            await made.stop()
        left.extend((directory, Path(f"/proc/{pid}")))

    left = list[Path]()
    asyncio.run(run())
    assert not any(path.exists() for path in left)


def fault(file: ModelFile) -> str:
    told = list[str]()

    async def wait(made: ModelProcess) -> None:
        with pytest.raises(ModelAbsent) as absent:
            await made.ready()
        told.append(str(absent.value))
        assert made.absent == told[0]

    running(file, wait)
    return told[0].removeprefix("can't load its model: ")


def test_each_wrong_file_is_one_sentence_without_its_name(model: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "secret-name.gguf"
    wrong.write_bytes(b"hello")
    assert fault(ModelFile(wrong)) == "its file is no GGUF file"
    with model.open("rb") as whole:
        wrong.write_bytes(whole.read(4_000_000))
    assert fault(ModelFile(wrong)) == "its file is cut short, at 4.0 MB of 98.4 MB"
    wrong.write_bytes(head({"general.architecture": "nothing"}))
    assert fault(ModelFile(wrong)) == "llama.cpp refuses its file"
    assert fault(ModelFile(wrong, sha256="0" * 64)) == "its file has another `sha256` than the configuration says"
    wrong.write_bytes(head({"split.count": 2}))
    sentence = "it is in several files, of which `sha256` can verify one alone"
    assert fault(ModelFile(wrong, sha256="0" * 64)) == sentence
    wrong.unlink()
    assert fault(ModelFile(wrong)) == "its file can't be read (No such file or directory)"
    os.mkfifo(wrong)
    assert fault(ModelFile(wrong)) == "its file is no GGUF file"


def test_a_model_that_needs_more_memory_than_there_is_is_not_loaded(tmp_path: Path) -> None:
    huge = tmp_path / "huge.gguf"
    huge.write_bytes(head({"general.architecture": "llama"}, {"weight": 1_000_000_000_000}))
    os.truncate(huge, 4_000_000_001_000)
    told = fault(ModelFile(huge))
    assert told.startswith("it needs about 4,000,134.2 MB of memory, and ")
    assert told.endswith(" MB are free")


async def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so, within some seconds."""
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.01)  # no event tells of it
    raise TimeoutError


def test_after_a_lasting_fault_requests_start_no_child_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"hello")

    async def use(made: ModelProcess) -> None:
        with pytest.raises(ModelAbsent) as first:
            await made.ready()
        file.unlink()
        file.symlink_to(model)
        with pytest.raises(ModelAbsent) as second:
            await made.ready()
        with pytest.raises(ModelAbsent) as third:
            await made.ready()
        assert str(first.value) == str(second.value) == str(third.value)
        assert len({id(each.value) for each in (first, second, third)}) == 3
        assert made.pid is None
        assert 0 < second.value.retry_after <= process.AGAIN_SECONDS
        monkeypatch.setattr(process, "AGAIN_SECONDS", 0.0)
        made._again_at = 0.0
        await made.ready()
        assert made.absent is None

    running(ModelFile(file), use)


def test_a_model_of_another_architecture_and_vocabulary_is_loaded(tmp_path: Path) -> None:
    async def use(made: ModelProcess) -> None:
        await made.ready()
        assert made.absent is None

    file = tmp_path / "untaught.gguf"
    file.write_bytes(untaught())
    running(ModelFile(file, context=128, parallel=1), use)
    file.write_bytes(untaught()[:-64])
    assert fault(ModelFile(file, context=128, parallel=1)).startswith("its file is cut short")


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
    async with asyncio.timeout(20):
        await ended.wait()


def test_health_says_why_nothing_is_answered(tmp_path: Path) -> None:
    async def run() -> None:
        provider = LlamaCpp("local", ModelFile(tmp_path / "absent.gguf"), Reader())
        await provider.start()
        try:
            before = await provider.health()
            assert (before.status, before.message) == (HealthStatus.ERROR, "it is loading its model")
            with pytest.raises(ModelAbsent):
                await provider.process.ready()
            after = await provider.health()
            assert after.message == "it can't load its model: its file can't be read (No such file or directory)"
        finally:
            await provider.close()

    asyncio.run(run())


def test_no_file_goes_to_a_model_that_reads_text_alone(model: Path) -> None:
    attached = Attachments([], FairShares(SENT))
    asked = ChatRequest("local/m", b'{"messages": []}', attached=attached)

    async def run() -> None:
        provider = LlamaCpp("local", ModelFile(model), Reader())
        for ask in (provider.complete, provider.stream, provider.count):
            with pytest.raises(ProviderFailed) as failed:
                await ask(asked)
            assert (failed.value.fault, failed.value.code) == (Fault.REQUEST, "unsupported_value")

    asyncio.run(run())


def test_a_request_waits_for_the_model_only_so_long(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.0)

    async def run(file: Path) -> ProviderFailed:
        provider = LlamaCpp("local", ModelFile(file), Reader())
        await provider.start()
        try:
            if file is not model:
                await until(lambda: provider.process.pid is None and provider.process.absent != "is loading its model")
            with pytest.raises(ProviderFailed) as failed:
                await provider.complete(ChatRequest("local/m", b'{"messages": []}'))
        finally:
            await provider.close()
        assert failed.value.unsent
        return failed.value

    loading = asyncio.run(run(model))
    assert (loading.fault, loading.message) == (Fault.PAUSED, "the provider `local` is still loading its model")
    absent = asyncio.run(run(tmp_path / "absent.gguf"))
    assert absent.fault is Fault.PROVIDER
    assert absent.message == (
        "the provider `local` can't load its model: its file can't be read (No such file or directory)"
    )
