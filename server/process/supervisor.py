"""Several processes that serve one port: started, watched, restarted and ended by the process that bound it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from server.background.child_processes import prepare_child
from server.process.serving import nothing_to_read_again, on_signals, shown
from server.process.startup import WorkerFailed, settled
from server.process.uvicorn_server import GRACE_SECONDS, LAST_SECONDS
from server.telemetry.exposition import Together
from server.telemetry.shared import SHARED_DIRECTORY, forget_process
from server.wiring.policy_engine import Plan, Ready

READY: Final = b"r"
"""The message of a worker to its parent, once, when it accepts connections."""

CANT_START: Final = 2
"""The exit status of a worker that has said why it can't begin."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_READY_SECONDS: Final = 30.0
_END_SECONDS: Final = GRACE_SECONDS + 4 * LAST_SECONDS

_log = logging.getLogger("ostiary.workers")


class Worker:
    """One of the processes, which is replaced when it dies.

    It inherits the listening socket, and on Linux the kernel kills it when its parent's thread ends. Otherwise it ends
    itself when the channel to its parent closes.
    """

    def __init__(self, order: bytes, listener: socket.socket, metrics: Path) -> None:
        self.restarts = 0
        self._order = order
        self._listener = listener
        self._metrics = metrics
        self._environment = {**os.environ, SHARED_DIRECTORY: str(metrics), "PYTHONPATH": _same_code()}
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._ending = False

    async def start(self) -> None:
        """Return when it accepts connections; raises WorkerFailed if it ends before that."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._channel = ours
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                # -P: a folder called `server` where the operator happens to stand is none of ours.
                *(
                    sys.executable,
                    "-P",
                    "-m",
                    "server.process.worker",
                    str(theirs.fileno()),
                    str(self._listener.fileno()),
                ),
                pass_fds=(theirs.fileno(), self._listener.fileno()),
                env=self._environment,
                preexec_fn=prepare_child(),
            )
        loop = asyncio.get_running_loop()
        said = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                await loop.sock_sendall(ours, self._order)
                said = await loop.sock_recv(ours, len(READY))
        if said != READY:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._process.wait()  # it is about to say why
            await self._kill()
            raise WorkerFailed("a worker ended before it could serve; what it said stands above")

    async def watch(self) -> None:
        """Start it again whenever it ends, after pauses that double; return when it ended because it was told to."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            status = await self._ended()
            if self._ending:
                return
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            _log.error("a worker ended with status %d; starting another in %.1f s", status, pause)
            pause = await self._restart(pause)

    def reload(self) -> None:
        """Tell it to read its certificate again."""
        if self._process is not None and not self._ending:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Tell it to end gently; the second time at once."""
        self._ending = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def kill(self) -> None:
        """End it for certain."""
        self._ending = True
        await self._kill()

    async def _ended(self) -> int:
        if self._process is None:
            return 0
        status = await self._process.wait()
        forget_process(self._metrics, self._process.pid)
        return status

    async def _restart(self, pause: float) -> float:
        """Try until another one serves; return the pause before the next try."""
        while not self._ending:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if self._ending:
                break
            self.restarts += 1
            self._close_channel()
            try:
                await self.start()
            except (OSError, WorkerFailed) as fault:
                _log.error("%s; trying again in %.1f s", fault, pause)
                continue
            _log.warning("another worker serves in its place")
            break
        return pause

    async def _kill(self) -> None:
        self._close_channel()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


async def supervise(
    plan: Plan,
    ready: Ready,
    listener: socket.socket,
    directory: Path,
    announce: Callable[[], None],
    shown_on: socket.socket | None,
) -> None:
    """Serve from `server.workers` processes that share `listener` and one OPA, until SIGINT or SIGTERM.

    What they count together lies in `directory`, and is shown by this process on the socket `shown_on`. `announce` is
    called once all of them serve; with an OPA of its own, once requests can be decided. Raises OpaStartFailed or
    WorkerFailed.
    """
    metrics = directory / "metrics"
    _empty(metrics)
    order = pickle.dumps(plan)
    workers = [Worker(order, listener, metrics) for _ in range(plan.config.server.workers)]
    try:
        # One alone at first: what keeps it from serving keeps all of them from it, and should be said once.
        await workers[0].start()
        await _start_together(workers[1:])
        await ready()
        with nullcontext() if shown_on is None else shown(Together(metrics), shown_on):
            await _watch(workers, listener, announce, has_tls=plan.config.server.tls_certfile is not None)
    finally:
        for worker in workers:
            await worker.kill()


async def _start_together(workers: list[Worker]) -> None:
    starting = [asyncio.create_task(worker.start()) for worker in workers]
    done, _ = await asyncio.wait(starting, return_when=asyncio.FIRST_EXCEPTION)
    for task in starting:
        task.cancel()
    for task in done:
        task.result()


async def _watch(
    workers: list[Worker], listener: socket.socket, announce: Callable[[], None], *, has_tls: bool
) -> None:
    """Return when every worker has ended, as they do after a signal."""
    ended = asyncio.Event()

    def stop() -> None:
        listener.close()  # or clients would queue at a socket that is never accepted from
        for worker in workers:
            worker.end()
        ended.set()

    def reload() -> None:
        for worker in workers:
            worker.reload()

    on_signals(stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload if has_tls else nothing_to_read_again)
    watching = [asyncio.create_task(worker.watch()) for worker in workers]
    announce()
    settled()
    try:
        await ended.wait()
        await asyncio.wait(watching, timeout=_END_SECONDS)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)


def _same_code() -> str:
    """Return the import path of a worker: the code that its parent runs, whatever its working directory."""
    ours = str(Path(__file__).parents[2])
    return os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])


def _empty(directory: Path) -> None:
    """Make the directory, and take out what an earlier server counted there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()
