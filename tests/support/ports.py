"""Ports for programs that must be told one, and can't report the port that the kernel gave them."""

from __future__ import annotations

import socket
from random import SystemRandom
from typing import Final

_PORTS: Final = range(10_240, 32_768)
"""The kernel gives these to no socket by itself: on Linux it begins at 32768, elsewhere higher.

Several processes run tests at the same time. A port from the kernel's own range would be given to another socket of
theirs before the program binds it.
"""

_TRIES: Final = 100


def free_port() -> int:
    """Return a port on 127.0.0.1 that nothing listens on."""
    for _ in range(_TRIES):
        port = SystemRandom().choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise RuntimeError(f"none of {_TRIES} ports was free")
