"""The priority of threads that work beside the event loop."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

GIVES_WAY: Final = 5
"""Steps of priority by which such a thread gives way to the event loop where both want a core."""


def give_way() -> None:
    """Have the current thread, and those that it starts, give way to the event loop; does nothing where it can't."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + GIVES_WAY)
