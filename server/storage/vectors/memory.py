"""Memory that the C library keeps of what was freed: indexes use much at times, and little in between."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any, Final

LARGE_BYTES: Final = 256 * 1024
"""Bytes from which on a block of memory goes back to the system once it is freed."""

ARENAS: Final = 2
"""Parts of the memory that threads share, in which freed blocks stay; each keeps its own."""

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def bound() -> None:
    """Have the C library keep little of what is freed; it would raise the size of large blocks to 32 MB by itself."""
    library = _library()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give back to the system what is freed; blocks for some milliseconds, without Python's lock."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _library() -> Any:
    """Return glibc; None where the C library is another one."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
