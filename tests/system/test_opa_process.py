"""OPA's life as a child: private, watched, restarted, and never outliving the server."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.opa import parent_watch
from server.authz.opa.runtime_directory import RuntimeDirectory, UnsafeDirectory
from server.authz.permit import AccessDenied
from server.authz.readiness import AuthenticationMode
from server.authz.request_context import RequestContext
from tests.support.opa_server import World, world, write_bundle
from tests.support.ostiary_run import children, command_line
from tests.support.patience import PATIENCE

CALLER = RequestContext("req_1", Principal("alice"))
LLAMA = Resource("model", ("llama",), None, Origin.CONFIG)

Run = Callable[[Coroutine[Any, Any, None]], None]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle.tar.gz")


def suspend(pid: int) -> None:
    """Return when every thread of this child has stopped."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def permitted_again(here: World) -> None:
    """Return when decisions are made again; raises TimeoutError after 10 s."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await here.pep.permit(CALLER, Action.READ, LLAMA)
            except PolicyUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


def ended(pid: int, seconds: float) -> bool:
    """Whether the process ends within that time."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


def test_no_other_user_can_reach_the_socket(run: Run, opa_binary: Path, tmp_path: Path, bundle: Path) -> None:
    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle, runtime=tmp_path / "run") as here:
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
            assert here.directory.socket == tmp_path / "run" / "opa.sock"
            assert stat.S_IMODE(here.directory.socket.stat().st_mode) == 0o600
        assert not here.directory.socket.exists()

    run(main())


@linux_only
def test_opa_sees_nothing_of_the_environment_and_no_signal_of_the_terminal(
    run: Run, opa_binary: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPA_ADDR", "127.0.0.1:8181")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SECRET", "canary")

    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle) as here:
            assert here.opa.pid is not None
            assert environment_of(here.opa.pid) == [b"GOGC=400", b"GOMAXPROCS=4", b""]
            assert (os.getsid(here.opa.pid), os.getpgid(here.opa.pid)) == (os.getsid(0), here.opa.pid)

    run(main())


def test_stopping_leaves_no_process_and_is_idempotent(run: Run, opa_binary: Path, tmp_path: Path, bundle: Path) -> None:
    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle) as here:
            pid, path = here.opa.pid, here.directory.path
            assert pid is not None
            await here.opa.stop()
            await here.opa.stop()
            assert here.opa.pid is None
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            assert not path.exists()
            with pytest.raises(PolicyUnavailable):
                await here.pep.permit(CALLER, Action.READ, LLAMA)

    run(main())


def test_readiness_names_both_revisions_and_the_age(run: Run, opa_binary: Path, tmp_path: Path, bundle: Path) -> None:
    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle) as here:
            first, second = await here.probe.check(), await here.probe.check()
            assert first.ready
            assert (first.wanted_revision, first.live_revision, first.reason) == ("r1", "r1", None)
            assert first.authentication is AuthenticationMode.CONFIGURED
            assert first.age_seconds is not None and second.age_seconds is not None
            assert 0 <= first.age_seconds < second.age_seconds
            here.pdp.expected_revision = "r2"
            other = await here.probe.check()
            assert (other.ready, other.wanted_revision, other.live_revision) == (False, "r2", "r1")
            assert other.reason == "opa answers from another policy revision than the wanted one"

    run(main())


def test_a_killed_opa_is_unavailable_at_once_and_back_by_itself(
    run: Run, opa_binary: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # It starts late enough for all that is seen before.
    held, wrapper = tmp_path / "held", tmp_path / "opa"
    wrapper.write_text(f'#!/bin/sh\nwhile [ -e "{held}" ]; do sleep 0.02; done\nexec "{opa_binary}" "$@"\n')
    wrapper.chmod(0o700)

    async def main() -> None:
        async with world(wrapper, tmp_path, bundle) as here:
            for restarts in (1, 2):
                await here.pep.permit(CALLER, Action.READ, LLAMA)
                assert here.opa.pid is not None
                held.touch()
                os.kill(here.opa.pid, signal.SIGKILL)
                assert ended(here.opa.pid, PATIENCE)
                with pytest.raises(PolicyUnavailable) as caught:
                    await here.pep.permit(CALLER, Action.READ, LLAMA)
                assert caught.value.failure is not Failure.DEADLINE
                readiness = await here.probe.check()
                assert (readiness.ready, readiness.live_revision) == (False, None)
                held.unlink()
                await permitted_again(here)
                assert here.opa.restarts == restarts
            assert {record["effect"] for record in await here.records()} == {"permit", "unavailable"}

    run(main())
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 2
    assert all(line.startswith("opa ended with status -9") for line in told)


def test_an_opa_that_does_not_start_again_is_tried_again_after_longer_and_longer_pauses(
    opa_binary: Path, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrapper = tmp_path / "opa"
    wrapper.write_text(f'#!/bin/sh\n[ -e "{tmp_path}/broken" ] && exit 7\nexec "{opa_binary}" "$@"\n')
    wrapper.chmod(0o700)

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "trying again in 0.4 s" in record.getMessage():
                tried.set()

    tried = asyncio.Event()
    listener = Listener()

    async def main() -> None:
        async with world(wrapper, tmp_path, bundle) as here:
            logging.getLogger("ostiary.opa").addHandler(listener)
            (tmp_path / "broken").touch()
            assert here.opa.pid is not None
            os.kill(here.opa.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                await tried.wait()
            (tmp_path / "broken").unlink()
            await permitted_again(here)

    try:
        asyncio.run(main())
    finally:
        logging.getLogger("ostiary.opa").removeHandler(listener)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told[:3] == [
        "opa ended with status -9; starting it again in 0.1 s",
        "opa ended with status 7 before it was ready: it said nothing; trying again in 0.2 s",
        "opa ended with status 7 before it was ready: it said nothing; trying again in 0.4 s",
    ]


def test_a_stop_while_an_opa_that_never_got_ready_is_ended_leaves_nothing(
    run: Run, opa_binary: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf, wrapper = tmp_path / "deaf", tmp_path / "opa"
    wrapper.write_text(f'#!/bin/sh\n[ -e "{deaf}" ] && trap "" TERM && exec sleep 1000\nexec "{opa_binary}" "$@"\n')
    wrapper.chmod(0o700)
    monkeypatch.setattr(parent_watch, "NEEDED", True)
    terminate, told = asyncio.subprocess.Process.terminate, set[int]()

    def terminating(process: asyncio.subprocess.Process) -> None:
        told.add(process.pid)
        terminate(process)

    monkeypatch.setattr(asyncio.subprocess.Process, "terminate", terminating)

    def ours() -> list[int]:
        lines = {pid: command_line(pid) for pid in children(os.getpid())}
        return [pid for pid, line in lines.items() if line.startswith("sleep 1000") or " companion " in line]

    async def main() -> None:
        async with world(wrapper, tmp_path, bundle) as here:
            deaf.touch()
            monkeypatch.setattr("server.authz.opa.process._READY_SECONDS", 0.5)
            assert here.opa.pid is not None
            os.kill(here.opa.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while not any(pid in told for pid in ours()):  # noqa: ASYNC110 - the process has no event
                    await asyncio.sleep(0.01)
        left = ours()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == []

    run(main())


def test_questions_under_way_when_opa_is_killed_get_no_permit_and_do_not_hang(
    run: Run, opa_binary: Path, tmp_path: Path, bundle: Path
) -> None:
    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle) as here:
            assert here.opa.pid is not None

            async def ask() -> object:
                return await here.pep.permit(CALLER, Action.UPDATE, LLAMA)

            asking = [asyncio.create_task(ask()) for _ in range(200)]
            await asyncio.sleep(0.005)
            os.kill(here.opa.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(outcome, AccessDenied | PolicyUnavailable) for outcome in outcomes)
            assert any(isinstance(outcome, PolicyUnavailable) for outcome in outcomes)
            assert len(await here.records()) == 200

    run(main())


def test_an_opa_that_hangs_is_unavailable_within_the_deadline_and_is_ended_for_certain(
    opa_binary: Path, tmp_path: Path, bundle: Path
) -> None:
    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle) as here:
            pid = here.opa.pid
            assert pid is not None
            suspend(pid)
            with pytest.raises(PolicyUnavailable) as caught:
                await here.pep.permit(CALLER, Action.READ, LLAMA)
            assert caught.value.failure is Failure.DEADLINE
            began = time.perf_counter()
            await here.opa.stop()
            assert time.perf_counter() - began < 4
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(main())


SERVER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = {path!r}
import uvloop
from tests.support.opa_server import world

async def main():
    async with world(Path({binary!r}), Path({folder!r}), Path({bundle!r}), runtime=Path({runtime!r})) as here:
        print(here.opa.pid, flush=True)
        await asyncio.Event().wait()

{loop}.run(main())
"""


@linux_only
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_that_is_killed_leaves_no_opa_and_the_next_one_takes_over_its_directory(
    loop: str, opa_binary: Path, tmp_path: Path, bundle: Path
) -> None:
    runtime = tmp_path / "run"
    script = SERVER.format(
        path=[str(Path(__file__).parents[2])],
        binary=str(opa_binary),
        folder=str(tmp_path),
        bundle=str(bundle),
        runtime=str(runtime),
        loop=loop,
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        opa = int(server.stdout.readline())
        assert not ended(opa, 0)
        with pytest.raises(UnsafeDirectory, match="in use by another server"):
            RuntimeDirectory.claim(runtime)
    finally:
        server.kill()
        server.communicate()
    assert ended(opa, 5)
    assert (runtime / "opa.sock").exists()

    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle, runtime=runtime) as here:
            await here.pep.permit(CALLER, Action.READ, LLAMA)

    asyncio.run(main())
