"""Atomic creation of small files that several processes may create at once."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def create_once(path: Path, content: bytes) -> None:
    """Create `path` with `content`, for the owner only, unless another process created it first; raise OSError."""
    temporary = _write_beside(path, content, 0o600)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()


def write_private(path: Path, content: bytes, *, replacing: bool) -> None:
    """Write `path` with `content`, for the owner only; raise OSError.

    A file that is there is replaced if `replacing`, and else an error.
    """
    temporary = _write_beside(path, content, 0o600)
    try:
        if replacing:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def publish(path: Path, content: bytes) -> None:
    """Replace `path` by a file with `content` that all users may read; raise OSError."""
    if not path.exists() or path.read_bytes() != content:
        _write_beside(path, content, 0o644).replace(path)


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return Path(name)
