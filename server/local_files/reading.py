"""Small files that others write: read whole, within a limit, and without waiting for anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableFile(Exception):
    """The file can't be read as one that is small and whole; the message goes on from its name."""


def read_small(path: Path, most: int) -> bytes:
    """The content, up to `most` bytes; raises UnreadableFile, also for a pipe, which would be waited for."""
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
