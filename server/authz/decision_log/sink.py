"""The sinks of the decision log: a file that several processes append to and rotate by size, or an open stream."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_PIPE_WAIT_MILLISECONDS: Final = 100

_log = logging.getLogger("ostiary.decision_log")


Beginning = Callable[[int, int], None]
"""Told of the file (inode) and the place in it before something is written there."""


class Sink(Protocol):
    """Takes whole lines; used by one thread at a time."""

    def append(self, lines: bytes, start: int, begin: Beginning) -> int:
        """Write at least one of the lines from `start` on; returns where the rest starts. Raises OSError if none is."""
        ...

    def sync(self) -> None:
        """Return when what is written would survive a power failure, where there is such a thing; raises OSError."""
        ...

    def free_bytes(self) -> int | None:
        """Return the free space of its disk; None where it isn't on one, or where that can't be told."""
        ...

    def close(self) -> None:
        """Release it; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Rotation:
    """Before a file grows over `size` bytes it is renamed to `NAME.1`, `NAME.1` to `NAME.2`, up to `NAME.<keep>`."""

    size: int
    keep: int


class LogFile:
    """A file, made with mode 0600 in a directory made with mode 0700.

    A process that appends holds an exclusive lock on the file, and first compares the path with the file that it has
    open: if that was renamed or removed, it opens the path again. So lines of several processes never mix, whichever
    process rotates. A line that can't be written whole is taken back, and the
    piece of one that a killed process left is ended before the next.
    """

    def __init__(self, path: Path, rotation: Rotation | None = None) -> None:
        """Open it; raises OSError, with the path, if that fails or if a file that is to be rotated can't be."""
        # The name of a pipe or device, such as `/dev/stdout`, is not resolved: what it leads to may have no path.
        is_file = path.is_file() or not path.exists()
        self._path = Path(os.path.realpath(path)) if rotation is not None and is_file else path
        self._rotation = rotation
        self._descriptor: int | None = None
        self._regular = False
        self._largest = 0
        self._open()
        if rotation is not None and self._regular and not os.access(self._path.parent, os.W_OK | os.X_OK):
            self.close()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path.parent))

    @property
    def path(self) -> Path | None:
        """The path, if it is a file on a disk and no pipe or device; else None."""
        return self._path if self._regular else None

    def append(self, lines: bytes, start: int, begin: Beginning) -> int:
        """Append as many lines as fit before the next rotation, and return where they end."""
        try:
            with self._held() as (descriptor, status):
                end = self._fitting(lines, start, status.st_size)
                if end > start:
                    self._write(descriptor, status, lines[start:end], begin)
                    return end
                self._rotate(descriptor, status.st_size)
        except OSError as fault:
            self._leave(fault)
            raise
        return self.append(lines, start, begin)

    def sync(self) -> None:
        """Wait for the disk."""
        if self._descriptor is not None and self._regular:
            os.fsync(self._descriptor)

    def free_bytes(self) -> int | None:
        """Return the bytes that are free for the server's user on the disk of the file's directory."""
        if not self._regular:
            return None
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize

    def close(self) -> None:
        """Close the file."""
        self._leave(None)

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = descriptor = os.open(self._path, _FLAGS, 0o600)
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._largest = 0 if self._rotation is None or not self._regular else self._rotation.size
        return descriptor

    @contextlib.contextmanager
    def _held(self) -> Iterator[tuple[int, os.stat_result]]:
        """Yield the file's descriptor and status, locked against other processes, at the path at this moment."""
        while True:
            descriptor = self._open() if self._descriptor is None else self._descriptor
            if self._regular:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                status = os.fstat(descriptor)
                if _is_at(self._path, status):
                    yield descriptor, status
                    return
            finally:
                if self._regular:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):
                self.sync()
            self._leave(None)

    def _fitting(self, lines: bytes, start: int, size: int) -> int:
        """Return the end of the lines that may follow in a file of `size` bytes; `start` if it must rotate first."""
        if not self._largest:
            return len(lines)
        return _end(lines, start, self._largest - size, at_least_one=size == 0)

    def _write(self, descriptor: int, status: os.stat_result, data: bytes, begin: Beginning) -> None:
        size = status.st_size
        if self._regular and size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
            size += 1
        begin(status.st_ino, size)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            # A full disk takes half a line. No other process has written since: the file is locked.
            if self._regular and len(rest) < len(data) and os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            raise

    def _rotate(self, descriptor: int, size: int) -> None:
        """Make the path free. A process that is killed in here leaves a gap in the numbers, and loses nothing."""
        rotation = self._rotation
        assert rotation is not None  # noqa: S101 - nothing else limits the size
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, rotation.keep + 1))]
        try:
            os.fsync(descriptor)
            for newer, older in reversed([*pairwise(names)]):
                with contextlib.suppress(FileNotFoundError):
                    newer.replace(older)
        except OSError as fault:
            # A log that has grown too large is better than none; it is tried again when as much has come again.
            self._largest = size + rotation.size
            _log.error("the decision log can't be rotated and grows on: %s", fault.strerror)

    def _leave(self, fault: OSError | None) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or (fault is not None and fault.errno == errno.EBADF):
            return  # a closed descriptor's number may be another file's by now
        with contextlib.suppress(OSError):
            os.close(descriptor)


class Stream:
    """A descriptor that the server did not open, such as standard output; closing leaves it open.

    Processes that share it take turns, so their lines don't mix, however long they are.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def append(self, lines: bytes, start: int, begin: Beginning) -> int:
        """Append as many as a pipe takes at once; after a failure it goes on where it was in a line."""
        end = _end(lines, start, select.PIPE_BUF, at_least_one=True)
        rest = memoryview(lines)[start + self._begun : end]
        try:
            with self._turn():
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError as fault:
            sent = end - len(rest)
            whole = lines.rfind(b"\n", start, sent) + 1
            self._begun = sent - (whole or start)
            if not whole:
                self._wait(fault)
                raise
            return whole
        self._begun = 0
        return end

    def sync(self) -> None:
        """Nothing: what becomes of a stream is its reader's affair."""

    def free_bytes(self) -> int | None:
        """Return None: a stream has no disk."""

    def close(self) -> None:
        """Nothing: it isn't ours."""

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold a record lock and not `flock`, which processes that inherited the stream would hold in common."""
        with contextlib.suppress(OSError):  # not every kind of stream can be locked
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _wait(self, fault: OSError) -> None:
        """Wait until a stream that another process made non-blocking takes more."""
        if fault.errno == errno.EAGAIN:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(_PIPE_WAIT_MILLISECONDS)


def _end(lines: bytes, start: int, room: int, *, at_least_one: bool) -> int:
    """Return the end of the last line that, with those before it, is no more than `room` bytes; `start` if none is."""
    if len(lines) - start <= room:
        return len(lines)
    end = lines.rfind(b"\n", start, start + max(room, 0)) + 1 or start
    return lines.index(b"\n", start) + 1 if at_least_one and end == start else end


def _is_at(path: Path, status: os.stat_result) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (status.st_ino, status.st_dev)
