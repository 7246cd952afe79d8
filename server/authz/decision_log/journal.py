"""The journal: a queue of lines for the sink in a memory-mapped file, which outlives a killed process."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final

HALF: Final = 1024 * 1024
"""Bytes of each half, its head included."""

_MARK: Final = ".journal-"
_U64: Final = Struct("<Q")
# Where the numbers of a half's head are: its turn, the bytes in it, how many of them the sink has, and the file
# (inode) and the place in it at which the sink is writing the next ones.
_TURN, _LENGTH, _DONE, _INODE, _PLACE, _DATA = 0, 8, 16, 24, 32, 40


class Journal:
    """Two halves: lines are put into one while the other is being written to the sink.

    `put` and `turn` are for one thread, `content`, `writing`, `advance` and `clear` for one other, and those for the
    half that `turn` has given out. Every change is one store into memory that belongs to the kernel's cache of the
    file, in an order in which a process may be killed at any moment.
    """

    def __init__(self, memory: mmap.mmap, path: Path | None = None, lock: int | None = None) -> None:
        self._memory = memory
        self._path = path
        self._lock = lock
        self._turns = 0
        self._base = 0
        self._end = _DATA
        self._given: int | None = None
        self._begin(0)

    @classmethod
    def in_memory(cls) -> Journal:
        """Make a journal that is gone with the process."""
        return cls(mmap.mmap(-1, 2 * HALF))

    @classmethod
    def beside(cls, log: Path) -> Journal:
        """Make a journal in a new file beside `log`, with mode 0600, all of its space taken at once; raises OSError."""
        path = Path(f"{log}{_MARK}{secrets.token_hex(4)}")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(lock, "wb", closefd=False) as file:
                file.write(bytes(2 * HALF))
            return cls(mmap.mmap(lock, 2 * HALF), path, lock)
        except OSError as fault:
            path.unlink(missing_ok=True)
            os.close(lock)
            raise OSError(fault.errno, fault.strerror, str(path)) from None

    @property
    def outlives(self) -> bool:
        """True if another process can find what this one leaves."""
        return self._path is not None

    def put(self, lines: bytes) -> bool:
        """Add whole lines; False if there is no room until the next `turn`."""
        begin, base = self._end, self._base
        end = begin + len(lines)
        if end > base + HALF:
            return False
        self._memory[begin:end] = lines
        self._end = end
        _U64.pack_into(self._memory, base + _LENGTH, end - base - _DATA)
        return True

    def turn(self) -> int | None:
        """Give out the half that lines were put into and begin the other; None while one is given out already."""
        if self._given is not None:
            return None
        self._given = given = self._base
        self._begin(HALF - given)
        return given

    def content(self, half: int) -> bytes:
        """Return the lines in a half."""
        length = self._number(half, _LENGTH)
        return self._memory[half + _DATA : half + _DATA + length]

    def writing(self, half: int, inode: int, place: int) -> None:
        """Note that what the sink hasn't got yet is about to be written to that file at that place."""
        self._set(half, _INODE, 0)
        self._set(half, _PLACE, place)
        self._set(half, _INODE, inode)

    def advance(self, half: int, done: int) -> None:
        """Note that the sink has the first `done` bytes."""
        self._set(half, _DONE, done)
        self._set(half, _INODE, 0)

    def clear(self, half: int) -> None:
        """Note that the sink has everything; the half can be given out again."""
        self._set(half, _LENGTH, 0)
        self._given = None

    def close(self) -> None:
        """Release it, and remove the file if no line is left in it."""
        empty = not self._number(0, _LENGTH) and not self._number(HALF, _LENGTH)
        self._memory.close()
        if self._path is not None and empty:
            self._path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)

    def _begin(self, base: int) -> None:
        self._turns += 1
        self._set(base, _LENGTH, 0)
        for number, value in ((_TURN, self._turns), (_DONE, 0), (_INODE, 0)):
            self._set(base, number, value)
        self._base = base
        self._end = base + _DATA

    def _number(self, half: int, which: int) -> int:
        return int(_U64.unpack_from(self._memory, half + which)[0])

    def _set(self, half: int, which: int, value: int) -> None:
        _U64.pack_into(self._memory, half + which, value)


def left_behind(log: Path) -> Iterator[bytes]:
    """Yield the lines, in order, that dead processes had for `log` and that are not in it; each journal is then
    removed.

    A journal is removed once the next one is asked for, so what came of it must have been written by then.
    """
    for path in sorted(log.parent.glob(f"{_escaped(log.name)}{_MARK}*")):
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield _missing(os.pread(lock, 2 * HALF, 0), log)
                path.unlink()
            except BlockingIOError:
                continue  # its process lives
            finally:
                os.close(lock)


def _missing(memory: bytes, log: Path) -> bytes:
    found = bytearray()
    halves = sorted((0, HALF), key=lambda base: _read(memory, base + _TURN)) if len(memory) == 2 * HALF else []
    for base in halves:
        length, done = _read(memory, base + _LENGTH), _read(memory, base + _DONE)
        lines = memory[base + _DATA : base + min(HALF, _DATA + length)][done:]
        lines = lines[_already_written(lines, log, _read(memory, base + _INODE), _read(memory, base + _PLACE)) :]
        # After a power failure there may be anything in it.
        found += b"".join(line for line in lines.splitlines(keepends=True) if _is_line(line))
    return bytes(found)


def _already_written(lines: bytes, log: Path, inode: int, place: int) -> int:
    """Return the number of bytes of whole `lines` at `place` in the file that a killed process was writing to."""
    for path in (log, *log.parent.glob(f"{_escaped(log.name)}.[0-9]*")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino == inode:
                file.seek(place)
                there = file.read(len(lines))
                same = next(
                    (at for at, pair in enumerate(zip(there, lines, strict=False)) if pair[0] != pair[1]), len(there)
                )
                return lines.rfind(b"\n", 0, same) + 1
    return 0


def _is_line(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}\n") and line[:-1].decode("latin-1").isprintable()


def _read(memory: bytes, place: int) -> int:
    return int(_U64.unpack_from(memory, place)[0])


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
