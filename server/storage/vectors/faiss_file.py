"""The SQLite file of `inline::faiss`: one process has it at a time, and each of its threads has a connection."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.opening import FULL, Unusable, make_folder, why

_BUSY_SECONDS: Final = 30.0
_PIECE: Final = 1024 * 1024


class FaissFile:
    """One file, between `lock` and `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the file where it is missing, and keep other processes from it; raise Unusable."""
        make_folder(self.path.parent)
        try:
            if self.path.is_dir():
                sentence = "the file of the vector index can't be used: a directory is in its place"
                raise Unusable(sentence, str(self.path))
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentence = "another process has the file of the vector index; stop it, or use `inline::lancedb`"
            raise Unusable(sentence, str(self.path)) from None
        except OSError as error:
            sentence = f"the file of the vector index can't be used: {why(error, self.path)}"
            raise Unusable(sentence, str(self.path)) from None

    def close(self) -> None:
        """Close every connection, and give the file up."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._threads = threading.local()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def connection(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                found.execute("PRAGMA journal_mode = WAL")
                found.execute("PRAGMA synchronous = FULL")
                found.execute("PRAGMA secure_delete = ON")
            except BaseException:
                found.close()
                raise
            self._threads.connection = found
            self._opened.append(found)
        return found

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction; raise IndexUnavailable."""
        try:
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise IndexUnavailable(FULL if is_full(error) else _unusable(error)) from None

    def empty_log(self) -> bool:
        """Write what the log of the file holds to the file, and return whether nothing is left in the log.

        A search that is under way keeps some of it.
        """
        busy, *_ = self.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def holds(self, mark: bytes) -> bool:
        """Return whether these bytes stand in the file or in its log."""
        return any(_holds(path, mark) for path in (self.path, Path(f"{self.path}-wal")))


def is_full(error: sqlite3.Error) -> bool:
    """Return whether the disk takes no more bytes."""
    name = getattr(error, "sqlite_errorname", "")
    return name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE")


def fault_in_words(fault: Exception) -> str:
    """Return why the file can't be used, for the operator."""
    if str(fault) == FULL:
        return "the disk is full; make room on it"
    if getattr(fault, "sqlite_errorname", "") == "SQLITE_NOTADB" or "NOTADB" in str(fault):
        return "another kind of file is in its place; move it away, or choose another `db_path`"
    return f"SQLite says {getattr(fault, 'sqlite_errorname', type(fault).__name__)}"


def _unusable(error: Exception) -> str:
    return f"the vector index can't be used ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _holds(path: Path, mark: bytes) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        before = b""
        while piece := file.read(_PIECE):
            if mark in before + piece:
                return True
            before = piece[1 - len(mark) :]
    return False
