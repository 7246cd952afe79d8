"""The supervision of a child process that runs a model: loaded in the background, and again after a crash."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.background.faults import copy_of
from server.inference.providers.llama_cpp.child import Order
from server.inference.providers.llama_cpp.child_process import Child, ChildFailed

PATIENCE_SECONDS: Final = 30.0
"""Limit of the time in which one request waits for the model to be loaded."""

MOST_RESTARTS: Final = 5
"""Restarts in a row after which only a request starts the child again."""

AGAIN_SECONDS: Final = 10.0
"""Seconds after a failure that lasts, or one restart too many, in which requests don't start the child."""

BEAT_SECONDS: Final = 10.0
"""Seconds between two looks at whether a model is at work."""

STUCK_SECONDS: Final = 60.0
"""Seconds without a sign of work after which a model is ended, and loaded again."""

_STEADY_SECONDS: Final = 60.0
_LOADING_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_LONGEST_BASE: Final = 60
_SOCKET: Final = "model.sock"

_log: Final = logging.getLogger("ostiary.llama_cpp")


class ModelAbsent(Exception):
    """The model can't be used now; the message goes on after the provider. `retry_after` is in seconds.

    It only takes time if it `loads`.
    """

    def __init__(self, sentence: str, retry_after: float, *, loads: bool = False) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after
        self.loads = loads


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file of a model, and how it is run; `Order` says what the fields mean."""

    path: Path
    sha256: str | None = None
    context: int = 4096
    parallel: int = 2
    threads: int = 1
    shares_cache: bool = False


class ModelProcess:
    """One model in a child process, which listens on `socket` in a private directory, for requests with `key` alone.

    After a crash it is started again, after pauses that double up to 10 s, and at most `MOST_RESTARTS` times in a row;
    after that, and after a failure that would come again, a request starts it, at most every `AGAIN_SECONDS`.
    """

    def __init__(self, provider_id: str, file: ModelFile) -> None:
        self.key: Final = secrets.token_urlsafe(32)
        self._provider_id = provider_id
        self._file = file
        self._directory: Path | None = None
        self._child: Child | None = None
        self._living: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[ModelAbsent | None] | None = None
        self._absent: ModelAbsent | None = ModelAbsent("is loading its model", _LOADING_SECONDS, loads=True)
        self._again_at = 0.0

    @property
    def socket(self) -> Path:
        """The path of the socket, once `begin` was called."""
        if self._directory is None:
            raise RuntimeError("a model is used before it is begun")
        return self._directory / _SOCKET

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if one does."""
        return None if self._child is None else self._child.pid

    @property
    def absent(self) -> str | None:
        """The reason that no request can be answered now; None where the model is loaded."""
        return None if self._absent is None else str(self._absent)

    def begin(self) -> None:
        """Make the private directory, and start to load the model in the background."""
        self._directory = _private_directory()
        self._live()

    async def ready(self) -> None:
        """Return when the model is loaded, for which a request waits a while; raises ModelAbsent."""
        if self._absent is None:
            return
        if self._living is None or self._living.done():
            if asyncio.get_running_loop().time() < self._again_at:
                raise copy_of(self._absent)
            self._live()
        outcome = self._outcome
        if outcome is None:
            raise copy_of(self._absent)
        done, _ = await asyncio.wait({outcome}, timeout=PATIENCE_SECONDS)
        absent = outcome.result() if done else ModelAbsent("is still loading its model", _LOADING_SECONDS, loads=True)
        if absent is not None:
            raise copy_of(absent)

    async def stop(self) -> None:
        """End the child, and remove the directory; can be called twice."""
        living, self._living = self._living, None
        if living is not None:
            living.cancel()
            await asyncio.wait({living})
        await self._end()
        self._settle(ModelAbsent("has ended its model", AGAIN_SECONDS))
        directory, self._directory = self._directory, None
        if directory is not None:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _live(self) -> None:
        self._outcome = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(self._supervise(), name=f"the model of {self._provider_id}")

    async def _supervise(self) -> None:
        """Keep a child running; return when only a request may start another."""
        loop = asyncio.get_running_loop()
        pause, restarts = _FIRST_PAUSE, 0
        while True:
            began = loop.time()
            failed = await self._run()
            if loop.time() - began > _STEADY_SECONDS:
                pause, restarts = _FIRST_PAUSE, 0
            gives_up = failed.lasting or restarts == MOST_RESTARTS
            tail = "" if gives_up else f"; starting it again in {pause:.1f} s"
            _log.error("the provider `%s` %s%s", self._provider_id, failed, tail)
            self._again_at = loop.time() + AGAIN_SECONDS
            self._settle(ModelAbsent(str(failed), AGAIN_SECONDS if gives_up else pause))
            if not gives_up:
                self._outcome = loop.create_future()
            await self._end()
            if gives_up:
                return
            await asyncio.sleep(pause)
            pause, restarts = min(2 * pause, _LONGEST_PAUSE), restarts + 1

    async def _run(self) -> ChildFailed:
        """Load the model and have it serve, and return the failure that ends that."""
        try:
            self._remove_socket()
            self._child = child = await Child.start(self._order(), self.socket.parent)
            await child.loaded()
        except ChildFailed as failed:
            return failed
        self._settle(None)
        beating, ended = asyncio.create_task(self._until_stuck()), asyncio.create_task(child.ended())
        try:
            await asyncio.wait({beating, ended}, return_when=asyncio.FIRST_COMPLETED)
            return beating.result() if beating.done() else ended.result()
        finally:
            beating.cancel()
            ended.cancel()

    async def _until_stuck(self) -> ChildFailed:
        """Return when the model has not answered for `STUCK_SECONDS`, as a form that is hard to follow can make it."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._beat()
            except TimeoutError:
                return ChildFailed(f"has a model that has not answered for {STUCK_SECONDS:.0f} s")
            except OSError:
                continue  # the child has ended, which is noticed

    async def _beat(self) -> None:
        """Return when the loop that computes answers has answered."""
        asked = (
            f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\nConnection: close\r\n\r\n"
        )
        answer, question = await asyncio.open_unix_connection(self.socket)
        try:
            question.write(asked.encode())
            await answer.read(1)
        finally:
            question.transport.abort()

    def _settle(self, absent: ModelAbsent | None) -> None:
        """Tell those who wait, and those who come."""
        self._absent = absent
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(absent)

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    def _remove_socket(self) -> None:
        self.socket.unlink(missing_ok=True)  # llama.cpp doesn't start where one is left

    def _order(self) -> Order:
        file = self._file
        return Order(
            path=str(file.path.absolute()),
            sha256=file.sha256,
            context=file.context,
            parallel=file.parallel,
            threads=file.threads,
            shares_cache=file.shares_cache,
            socket=str(self.socket),
            key=self.key,
            alias=self._provider_id,
        )


def _private_directory() -> Path:
    """Make a directory that this user alone may enter, with a name that is short enough for a socket in it."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if base and os.access(base, os.W_OK | os.X_OK) and len(os.fsencode(base)) < _LONGEST_BASE:
            return Path(tempfile.mkdtemp(prefix="ostiary-", dir=base))
    return Path(tempfile.mkdtemp(prefix="ostiary-", dir="/tmp"))
