"""Reading of small files that other programs write: complete, bounded, and without blocking."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableFile(Exception):
    """Raised for a file that isn't small and complete; the message continues from its name."""


def read_small(path: Path, most: int) -> bytes:
    """Return the content, up to `most` bytes; raise UnreadableFile, also for a pipe, which would block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFile("is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFile(f"can't be read ({error.strerror})") from None
    if len(content) > most:
        raise UnreadableFile(f"has more than {most} bytes")
    return content
