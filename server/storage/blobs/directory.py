"""The bytes of files in a directory, for one machine or several that share it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

from server.storage.blobs.store import PIECE, BlobMissing, BlobsFull, BlobsUnavailable, BlobsUnusable, checked

SPARED: Final = 256 * 1024 * 1024
SPARED_SHARE: Final = 20
"""Bytes of a disk that files leave free, or one part of so many where that is less. The decision log and the records
may lie on the same disk, and without them nobody is served: whoever may keep files must not be able to fill it."""

_THREADS: Final = 4
_UNFINISHED: Final = ".part"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DirectoryBlobs:
    """A blob is the file `ab/file-ab…` under `folder`, named `….part` until it is finished; its owner alone reads it.

    The disk is waited for in threads of its own, so that nothing else in the server waits with it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, "blobs")

    async def start(self) -> None:
        """Make the directory, and see that files can be made in it; raises BlobsUnusable."""
        reason = await asyncio.get_running_loop().run_in_executor(self._threads, _unusable, self._folder)
        if reason is not None:
            sentence = f"files can't be kept in `{self._folder}`: {reason}; choose another `path` in `storage.blobs`"
            raise BlobsUnusable(sentence)

    async def begin(self, key: str) -> DirectoryWriting:
        """Start to write a blob; raises BlobsUnavailable."""
        output = _Output(self._path(key))
        writing = DirectoryWriting(self.run, output)
        try:
            await self.run(output.create)
        except BaseException:
            await writing.abandon()
            raise
        return writing

    async def open(self, key: str) -> DirectoryReading:
        """Start to read a blob; raises BlobMissing and BlobsUnavailable."""
        source = _Source(self._path(key), self._folder)
        reading = DirectoryReading(self.run, source)
        try:
            await self.run(source.open)
        except BaseException:
            await reading.close()
            raise
        return reading

    async def delete(self, key: str) -> None:
        """Remove the blob, and what is left of its writing; there may be nothing. Raises BlobsUnavailable."""
        await self.run(_remove, self._path(key))

    async def ping(self) -> None:
        """Return if the folder can be written, or be made where it is missing; raises BlobsUnavailable."""
        await self.run(self._check_access)

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False)

    async def run(self, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
        """What `work` returns, done in a thread; raises BlobsUnavailable for what the disk refuses."""
        loop = asyncio.get_running_loop()
        with self._reported():
            return await _to_its_end(loop.run_in_executor(self._threads, lambda: work(*given, **named)))

    def _check_access(self) -> None:
        place = next(place for place in (self._folder, *self._folder.absolute().parents) if place.exists())
        if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _path(self, key: str) -> Path:
        shard = checked(key).partition("-")[2][:2]
        return self._folder / shard / key

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = BlobsFull if error.errno in _NO_ROOM else BlobsUnavailable
            raise kind(f"the files in `{self._folder}` can't be used: {error.strerror}") from None


class DirectoryWriting:
    """A file that is being written."""

    def __init__(self, run: _Run, output: _Output) -> None:
        self._run = run
        self._output = output

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable."""
        await self._run(self._output.write, piece)

    async def finish(self) -> None:
        """Return when the file has its name and is on the disk; raises BlobsUnavailable."""
        await self._run(self._output.finish)

    async def abandon(self) -> None:
        """Remove the file."""
        with suppress(BlobsUnavailable):
            await self._run(self._output.abandon)


class DirectoryReading:
    """A file that is being read."""

    def __init__(self, run: _Run, source: _Source) -> None:
        self._run = run
        self._source = source

    @property
    def size(self) -> int:
        """Its length."""
        return self._source.size

    async def read(self) -> bytes:
        """The next piece, or nothing at the end; raises BlobsUnavailable."""
        return await self._run(self._source.read)

    async def close(self) -> None:
        """Close the file."""
        with suppress(BlobsUnavailable):
            await self._run(self._source.close)


class _Run(Protocol):
    async def __call__(self, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T: ...


async def _to_its_end(work: asyncio.Future[_T]) -> _T:
    """The result of work in a thread, which can't be interrupted: whoever is cancelled must not leave it half done."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        with suppress(Exception):
            await work
        raise


class _Output:
    """What threads do to a file that is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def create(self) -> None:
        shard = self._path.parent
        shard.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shard.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(_unfinished(self._path), flags, 0o600)

    def write(self, piece: bytes) -> None:
        _check_room(self._opened)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._opened, rest) :]

    def finish(self) -> None:
        os.fsync(self._opened)
        _unfinished(self._path).rename(self._path)
        # The file's name lies in its directory, and the directory's in the one above.
        for folder in (self._path.parent, self._path.parent.parent):
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
        self._close()

    def abandon(self) -> None:
        self._close()
        _remove(self._path)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @property
    def _opened(self) -> int:
        if self._descriptor is None:
            raise RuntimeError("a blob is written after its end")
        return self._descriptor


class _Source:
    """What threads do to a file that is read."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._descriptor: int | None = None
        self.size = 0

    def open(self) -> None:
        """Open the file; raises BlobMissing.

        Where the folder itself is gone nothing is known of its files, and that is an OSError.
        """
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._folder.stat()
            raise BlobMissing(f"a file's bytes are missing in `{self._folder}`") from None
        self.size = os.fstat(self._descriptor).st_size

    def read(self) -> bytes:
        if self._descriptor is None:
            raise RuntimeError("a blob is read after its end")
        return os.read(self._descriptor, PIECE)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _unusable(folder: Path) -> str | None:
    """Why no file can be made in `folder`, which is made if it isn't there; None if one can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(probe)
    except OSError as error:
        return error.strerror or "it can't be used"
    return None if os.access(folder, os.W_OK | os.X_OK) else "it can't be written"


def _check_room(descriptor: int) -> None:
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < min(SPARED, disk.f_blocks * disk.f_frsize // SPARED_SHARE):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + _UNFINISHED)


def _remove(path: Path) -> None:
    for name in (_unfinished(path), path):
        name.unlink(missing_ok=True)
