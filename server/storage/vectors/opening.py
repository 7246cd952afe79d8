"""The opening of an index in the background, so that no request and no start waits for it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Generic, TypeVar

from server.background.ends import to_its_end
from server.background.faults import log_fault
from server.background.tasks import BackgroundTasks
from server.fairness.caller import CURRENT, SERVER
from server.storage.vectors.index import IndexUnavailable

RETRY_SECONDS: Final = 5.0
"""Seconds after which an index that could not be opened is tried again."""

STARTING: Final = "the vector index is starting; try again in a moment"
STOPPED: Final = "the vector index is closed"
FULL: Final = "the disk of the vector index is full; make room on it"

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a disk that takes no more bytes."""

T = TypeVar("T")

_log: Final = logging.getLogger("ostiary.storage")


class Unusable(Exception):
    """An index can't be opened; the message is one sentence without the `place`, which is for the log alone."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class Opening(Generic[T]):
    """Opens something in the background, again and again until it succeeds.

    `lazily` waits with it until `opened` is called for the first time.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], *, lazily: bool = False) -> None:
        """`make` raises Unusable."""
        self._make = make
        self._made: T | None = None
        self._lazily = lazily
        self._runs = False
        self._wanted = asyncio.Event()
        self._fault: str | None = STARTING

    @property
    def fault(self) -> str | None:
        """Why it isn't open, in one sentence; None where it is, and where it waits for its first use."""
        return None if self._lazily and not self._wanted.is_set() else self._fault

    @asynccontextmanager
    async def running(self, close: Callable[[T], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Open it for as long as the context lasts; entering it waits for nothing."""
        tasks, token = BackgroundTasks(), CURRENT.set(SERVER)
        tasks.start("opening of the vector index", self._open())
        CURRENT.reset(token)
        self._runs = True
        try:
            yield
        finally:
            self._runs = False
            await to_its_end(self._ended(tasks, close))

    def opened(self) -> T:
        """Return what was opened; raise IndexUnavailable until then."""
        if self._made is not None:
            return self._made
        self._wanted.set()
        raise IndexUnavailable(self._fault or STARTING, starting=self._runs and self._fault in (STARTING, None))

    async def _ended(self, tasks: BackgroundTasks, close: Callable[[T], Awaitable[None]] | None) -> None:
        await tasks.cancel()
        made, self._made, self._fault = self._made, None, STOPPED
        if made is not None and close is not None:
            await close(made)

    async def _open(self) -> None:
        if self._lazily:
            await self._wanted.wait()
        while self._made is None:
            try:
                self._made = await self._make()
            except Unusable as unusable:
                if self._fault != str(unusable):
                    _log.warning("%s (%s)", unusable, unusable.place)
                self._fault = str(unusable)
            except Exception as fault:  # noqa: BLE001  # a fault of the library must not end the trials
                log_fault(_log, "the vector index can't be opened", fault)
                self._fault = f"the vector index can't be opened ({type(fault).__name__})"
            if self._made is None:
                await asyncio.sleep(RETRY_SECONDS)
        self._fault = None


def make_folder(folder: Path) -> None:
    """Make the directory of an index where it is missing; raise Unusable where no file can be made in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Unusable(f"the directory of the vector index can't be used: {why(error, folder)}", str(folder)) from None


def why(error: OSError, place: Path) -> str:
    """Return why a place can't be used, as the end of a sentence without its name."""
    if error.errno in NO_ROOM:
        return "the disk is full; make room on it"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file is in its place; move it away, or choose another place"
    if error.errno == errno.EROFS:
        return "the disk can only be read; choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            "it belongs to another user; give it to the user of the server"
            if _is_foreign(place)
            else ("the user of the server may not write it; change its permissions")
        )
    return error.strerror or "the system says no more"


def _is_foreign(place: Path) -> bool:
    """Return whether the place, or the first directory on the way to it that can be seen, is another user's."""
    for step in (place, *place.absolute().parents):
        with suppress(OSError):
            return step.stat().st_uid != os.geteuid()
    return False
