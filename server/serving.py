"""From a checked configuration and its bundle to a server that serves, and back to nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from server import wiring
from server.authz.runtime_directory import RuntimeDirectory
from server.http1 import door

_GRACE_SECONDS = 10

loop_factory = uvloop.new_event_loop


class PortInUse(Exception):
    """The address can't be listened on; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as fault:
        raise PortInUse(
            f"port {port} of {host} can't be used: {os.strerror(fault.errno or 0)}; choose another `server.port`"
        ) from None


def runtime_directory(port: int) -> RuntimeDirectory:
    """The private directory of the server on this port; a killed server's is taken over. Raises UnsafeDirectory."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return RuntimeDirectory.claim(base / f"ostiary-{os.geteuid()}-{port}")


async def serve(
    plan: wiring.Plan, directory: RuntimeDirectory, listener: socket.socket, announce: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once requests can be decided. Raises OpaStartFailed."""
    async with wiring.decisions(plan, directory) as (pep, probe):
        app = wiring.build(plan.config, pep, plan.authenticator, probe)
        settings = plan.config.server
        server = _Server(
            door(
                app,
                log_config=None,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                ssl_certfile=settings.tls_certfile,
                ssl_keyfile=settings.tls_keyfile,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        announce()
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, without its own signal handlers: it would raise the signal again in the middle of our clean-up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """End gently; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
