"""The private directory that holds OPA's socket: who may enter it decides who may ask OPA."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

MAX_SOCKET_PATH: Final = 100
"""Bytes of a socket's path; the kernel's own limit is 104 on some systems and 108 on others, its end mark included."""

_SOCKET: Final = "opa.sock"
_LOCK: Final = "lock"


class UnsafeDirectory(Exception):
    """The directory can't keep others out, or is in use; the message says what to do."""


class RuntimeDirectory:
    """A directory of our own with mode 0700, held by at most one server at a time."""

    def __init__(self, path: Path, lock: int, temporary: bool) -> None:
        self.path = path
        self.socket = path / _SOCKET
        self._lock: int | None = lock
        self._temporary = temporary

    @classmethod
    def claim(cls, wanted: Path | None) -> RuntimeDirectory:
        """Make or take over `wanted`, and remove the socket that a killed server left there.

        None, or a path too long for a socket, means a new directory under `XDG_RUNTIME_DIR`, or else under the system's
        directory for temporary files; it is removed by `close`. Raises UnsafeDirectory.
        """
        temporary = wanted is None or len(os.fsencode(wanted.absolute() / _SOCKET)) > MAX_SOCKET_PATH
        path = _make_temporary() if temporary or wanted is None else wanted.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as fault:
            raise UnsafeDirectory(f"`{path}` can't be made: {fault.strerror}; choose another directory") from None
        _check_private(path)
        lock = _lock(path)
        directory = cls(path, lock, temporary)
        try:
            directory.remove_socket()
        except UnsafeDirectory:
            os.close(lock)
            raise
        return directory

    def remove_socket(self) -> None:
        """Remove the socket if there is one; raises UnsafeDirectory if something else has its name."""
        try:
            if not stat.S_ISSOCK(self.socket.lstat().st_mode):
                raise UnsafeDirectory(f"`{self.socket}` is not a socket; remove it or choose another directory")
            self.socket.unlink()
        except FileNotFoundError:
            return

    def close(self) -> None:
        """Remove the socket, and the directory if it was a temporary one; let another server have its place.

        Idempotent.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        if self._temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.socket.unlink(missing_ok=True)
        os.close(lock)


def _make_temporary() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK | os.X_OK) and len(os.fsencode(base)) < MAX_SOCKET_PATH // 2:
        return Path(tempfile.mkdtemp(prefix="ostiary-", dir=base))
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) >= MAX_SOCKET_PATH // 2:
        base = "/tmp"  # noqa: S108 - the directory below it is made with mode 0700 and a name of its own
    return Path(tempfile.mkdtemp(prefix="ostiary-", dir=base))


def _check_private(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeDirectory(f"`{path}` is not a directory; remove it or choose another directory")
    if status.st_uid != os.geteuid():
        raise UnsafeDirectory(f"`{path}` belongs to another user; choose a directory of your own")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeDirectory(f"`{path}` can be written by others; run `chmod 700` on it or choose another directory")


def _lock(path: Path) -> int:
    """Hold the directory for as long as this process lives."""
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(descriptor)
        if fault.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise UnsafeDirectory(
                f"`{path}` is in use by another server; stop it or choose another directory"
            ) from None
        raise
    return descriptor
