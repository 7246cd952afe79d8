"""Storage of files' bytes in a directory, for one machine or several that share it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

from server.background.ends import in_thread_to_its_end
from server.storage.blobs.store import PIECE, BlobMissing, BlobsFull, BlobsUnavailable, BlobsUnusable, checked

SPARED: Final = 256 * 1024 * 1024
SPARED_SHARE: Final = 20
"""Bytes of a disk that files leave free, or one part of so many where that is less. The decision log and the records
may lie on the same disk, and without them no request is served: uploads must not be able to fill it."""

_THREADS: Final = 4
_UNFINISHED: Final = ".part"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DirectoryBlobs:
    """A blob is the file `ab/file-ab…` under `folder`, named `….part` until it is finished; only its owner can read it.

    Disk operations run in separate threads, so that the event loop never waits for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, "blobs")

    @property
    def gathered(self) -> int:
        """Zero: each piece is written at once."""
        return 0

    async def start(self) -> None:
        """Create the directory, and check that files can be created in it; raise BlobsUnusable."""
        reason = await asyncio.get_running_loop().run_in_executor(self._threads, _unusable, self._folder)
        if reason is not None:
            sentence = f"files can't be kept in `{self._folder}`: {reason}; choose another `path` in `storage.blobs`"
            raise BlobsUnusable(sentence)

    async def begin(self, key: str) -> DirectoryWriting:
        """Start to write a blob; raise BlobsUnavailable."""
        output = _Output(self._path(key))
        writing = DirectoryWriting(self.run, output)
        try:
            await self.run(output.create)
        except BaseException:
            await writing.abandon()
            raise
        return writing

    async def open(self, key: str) -> DirectoryReading:
        """Start to read a blob; raise BlobMissing or BlobsUnavailable."""
        source = _Source(self._path(key), self._folder)
        reading = DirectoryReading(self.run, source)
        try:
            await self.run(source.open)
        except BaseException:
            await reading.close()
            raise
        return reading

    async def delete(self, key: str) -> None:
        """Remove the blob, or an unfinished one, if it exists; raise BlobsUnavailable."""
        await self.run(_remove, self._path(key))

    async def ping(self) -> None:
        """Return if the folder can be written, or be created where it is missing; raise BlobsUnavailable."""
        await self.run(self._check_access)

    async def close(self) -> None:
        """Shut the threads down."""
        self._threads.shutdown(wait=False)

    async def run(self, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
        """Return the result of `work`, run in a thread; raise BlobsUnavailable for an error of the disk."""
        with self._reported():
            return await in_thread_to_its_end(lambda: work(*given, **named), threads=self._threads)

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
        """Return when the file has its name and is on the disk; raise BlobsUnavailable."""
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
        """The blob's length in bytes."""
        return self._source.size

    async def read(self) -> bytes:
        """Return the next piece, empty at the end; raise BlobsUnavailable."""
        return await self._run(self._source.read)

    async def close(self) -> None:
        """Close the file."""
        with suppress(BlobsUnavailable):
            await self._run(self._source.close)


class _Run(Protocol):
    async def __call__(self, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T: ...


class _Output:
    """The operations of threads on a file that is being written."""

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
        # Both directories are synced: the file's name is in the one, the directory's in its parent.
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
    """The operations of threads on a file that is being read."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._descriptor: int | None = None
        self.size = 0

    def open(self) -> None:
        """Open the file; raise BlobMissing if it doesn't exist.

        Where the folder itself is missing, its files may still exist, and that is an OSError.
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
    """Return why no file can be created in `folder`, which is created if missing; None if one can."""
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
