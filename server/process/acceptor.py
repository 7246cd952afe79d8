"""Accepting of connections from a socket that several processes share."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from server.background.tasks import BackgroundTasks

_TLS_SECONDS: Final = 15.0
_OTHERS_FIRST: Final = 0.001
_FULL_PAUSE: Final = 0.5
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: Final = logging.getLogger("ostiary.workers")


class Acceptor:
    """Takes one connection and leaves the next ones to others for a millisecond, so that all get some of a crowd.

    The event loop itself would accept until none is left. A single connection is not delayed.
    `protocol` makes the object that a connection talks to.
    """

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._greeting = BackgroundTasks()
        self._closed = False

    def start(self) -> None:
        """Accept from now on."""
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; the listener stays open. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as fault:
            if fault.errno not in _FULL:
                raise
            _log.error("a connection can't be accepted: %s", fault.strerror)
            self._pause(_FULL_PAUSE)
            return
        self._pause(_OTHERS_FIRST)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greeting.start("new connection", self._greet(connection))

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.start()

    async def _greet(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _TLS_SECONDS,
            )
        except (OSError, TimeoutError):
            connection.close()  # a client that has gone, or doesn't speak TLS
