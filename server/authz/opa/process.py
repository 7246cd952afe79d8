"""OPA as a child process: started, watched, restarted and ended by the server, and never outliving it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import SubprocessError
from typing import Final

from server.authz.contract.errors import PolicyUnavailable
from server.authz.decision_log.log import DecisionLog
from server.authz.opa import parent_watch
from server.authz.opa.command import ENVIRONMENT, OpaStartFailed, check_version, run_arguments
from server.authz.opa.log import ARGUMENTS, LONGEST_EVENT, event, write_mask
from server.authz.opa.parent_watch import ParentWatch
from server.authz.opa.runtime_directory import RuntimeDirectory, UnsafeDirectory
from server.authz.readiness import ReadinessProbe
from server.background.child_processes import prepare_child
from server.fairness.shares import NoRoom

_READY_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_LINE_LIMIT: Final = 500

_HEAR_PAUSE: Final = 0.1
"""Seconds before an event that OPA's own decision log did not take is tried again."""

_log = logging.getLogger("ostiary.opa")


class OpaProcess:
    """One OPA that serves `bundle` on the socket in `directory`, which this object takes over.

    While OPA is down, questions to it fail with PolicyUnavailable; it is started again after 0.1 s, then after pauses
    that double up to 5 s, for ever. A first start fails at once where OPA ends by itself, since it would do so again;
    an OPA that is ended from outside before it is ready is started again until the time of a start is over.

    It gets no more of the environment than its collector's setting, and what it says goes to the logger `ostiary.opa`.
    With `events` it keeps a decision log of its own, which goes there; while that can't be written, OPA has to wait.

    Not even a kill -9 of the server leaves an OPA behind. On Linux the kernel kills it when the thread that started it
    ends, so start it from the main thread; on other systems a `ParentWatch` does.
    """

    def __init__(
        self,
        binary: Path,
        bundle: Path,
        directory: RuntimeDirectory,
        probe: ReadinessProbe,
        events: DecisionLog | None = None,
    ) -> None:
        self.restarts = 0
        self._binary = binary.absolute()
        self._bundle = bundle.absolute()
        self._directory = directory
        self._probe = probe
        self._events = events
        self._process: Process | None = None
        self._companion: ParentWatch | None = None
        self._said: asyncio.StreamReader | None = None
        self._relay: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._decides = asyncio.Event()
        self._expires = 0.0
        self._last_words: deque[str] = deque(maxlen=5)
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id of the OPA that runs now, if one does."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Return when OPA decides by the wanted policy; raises OpaStartFailed, leaving nothing behind."""
        await self.begin()
        await self.ready()

    async def begin(self) -> None:
        """Do the first half: return when OPA was started; from now on it is watched over."""
        async with self._nothing_left_behind():
            await check_version(self._binary)
            process = await self._spawn()
        self._expires = time.monotonic() + _READY_SECONDS
        self._supervisor = asyncio.create_task(self._live(process))

    async def ready(self) -> None:
        """Do the second half: return when OPA has decided by the wanted policy, whatever became of it since then."""
        async with self._nothing_left_behind():
            supervisor = self._supervisor
            assert supervisor is not None  # noqa: S101 - `begin` has started it
            # Time in which a busy machine ran the server is no time that OPA was given.
            self._expires = time.monotonic() + _READY_SECONDS
            waiting = asyncio.create_task(self._decides.wait())
            await asyncio.wait([waiting, supervisor], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if supervisor.done():
                supervisor.result()

    @contextlib.asynccontextmanager
    async def _nothing_left_behind(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End OPA, gently for 2 s and then for certain, and release the directory; idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            # `ready` has raised the reason of a failed first start, if it was awaited.
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._end()
        self._directory.close()

    async def _end(self) -> None:
        """End OPA; it stays known until it has ended, so that a call that is cancelled leaves the rest to the next."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._process = None
        await self._dismiss_companion()
        await self._end_relay()

    async def _dismiss_companion(self) -> None:
        """OPA has ended, and its process id may soon be another process's."""
        dismissed, self._companion = self._companion, None
        if dismissed is not None:
            await dismissed.dismiss()

    async def _end_relay(self) -> None:
        """Hear what OPA said last; not for long, since something that it left behind might keep the pipe open.

        What its log has not taken by then is lost.
        """
        relay, said = self._relay, self._said
        if relay is None or said is None:
            return
        await asyncio.wait([relay], timeout=_STOP_SECONDS)
        if relay.cancel():
            await asyncio.wait([relay])
            # A pipe is closed once it is read to its end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    while await said.read(65536):
                        pass

    def _arguments(self) -> tuple[str, ...]:
        if self._events is None:
            return run_arguments(self._directory.socket, self._bundle)
        mask = write_mask(self._directory.path)
        return (*run_arguments(self._directory.socket, self._bundle, mask), *ARGUMENTS)

    async def _spawn(self) -> Process:
        try:
            self._directory.remove_socket()
            self._process = process = await asyncio.create_subprocess_exec(
                self._binary,
                *self._arguments(),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                cwd=self._directory.path,
                env=ENVIRONMENT,
                preexec_fn=prepare_child(),
            )
            if parent_watch.NEEDED:
                self._companion = await ParentWatch.of(process.pid)
        except UnsafeDirectory as fault:
            raise OpaStartFailed(str(fault)) from None
        except (OSError, SubprocessError) as fault:
            raise OpaStartFailed(f"`{self._binary}` can't be started: {fault}; run `make opa`") from None
        assert process.stdout is not None  # noqa: S101 - asked for above
        self._last_words.clear()
        self._said = process.stdout
        self._relay = asyncio.create_task(self._relay_lines(process.stdout))
        return process

    async def _live(self, process: Process) -> None:
        """Watch over OPA for ever; raises OpaStartFailed if it never gets ready."""
        process = await self._first_start(process)
        self._decides.set()
        await self._supervise(process)

    async def _first_start(self, process: Process) -> Process:
        """Return the OPA that is ready, which is another one than `process` if that was ended from outside."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._until_ready(process)
            except OpaStartFailed as fault:
                # By itself OPA ends with a positive status, and would do so again.
                was_ended = process.returncode is not None and process.returncode <= 0
                if not was_ended or time.monotonic() + pause > self._expires:
                    raise
                _log.error("%s; trying again in %.1f s", fault, pause)
            else:
                return process
            await self._end()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.restarts += 1
            process = await self._spawn()

    async def _until_ready(self, process: Process) -> None:
        while True:
            readiness = await self._probe.check()
            if readiness.ready:
                return
            if process.returncode is not None:
                await self._end_relay()
                words = " ".join(self._last_words) or "it said nothing"
                raise OpaStartFailed(f"opa ended with status {process.returncode} before it was ready: {words}")
            if time.monotonic() > self._expires:
                raise OpaStartFailed(f"opa is not ready after {_READY_SECONDS:.0f} s: {readiness.reason}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _supervise(self, process: Process) -> None:
        pause = _FIRST_PAUSE
        while True:
            ready_at = time.monotonic()
            status = await process.wait()
            await self._dismiss_companion()
            # One that waits for a log which can't be written would be left behind with its pipe, one by each crash.
            await self._end_relay()
            if time.monotonic() - ready_at > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            _log.error("opa ended with status %d; starting it again in %.1f s", status, pause)
            process, pause = await self._restart(pause)

    async def _restart(self, pause: float) -> tuple[Process, float]:
        """Return a ready OPA, after as many tries as it takes, and the pause before the next one."""
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.restarts += 1
            try:
                process = await self._spawn()
                self._expires = time.monotonic() + _READY_SECONDS
                await self._until_ready(process)
            except OpaStartFailed as fault:
                _log.error("%s; trying again in %.1f s", fault, pause)
                await self._end()
                continue
            _log.warning("opa is ready again")
            return process, pause

    async def _relay_lines(self, stream: asyncio.StreamReader) -> None:
        """Read without end, so that OPA never blocks on a full pipe; log each line, cut to a sane length."""
        line = b""
        while chunk := await stream.read(65536):
            *lines, line = (line + chunk).split(b"\n")
            line = line[: _LINE_LIMIT if self._events is None else LONGEST_EVENT]
            for text in lines:
                await self._hear(text)
        self._say(line)

    async def _hear(self, line: bytes) -> None:
        text = None if self._events is None else event(line)
        if text is None or self._events is None:
            self._say(line)
            return
        while True:
            with contextlib.suppress(PolicyUnavailable, NoRoom):
                await self._events.write([text])
                return
            # A log that has failed for long refuses at once.
            await asyncio.sleep(_HEAR_PAUSE)

    def _say(self, line: bytes) -> None:
        text = line[:_LINE_LIMIT].decode(errors="replace").strip()
        if text:
            text = "".join([character if character.isprintable() else " " for character in text])
            self._last_words.append(text)
            _log.warning("opa: %s", text)
