"""Accepting of connections from a socket, which several processes may share."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from math import ceil
from typing import Final

from server.background.tasks import BackgroundTasks
from server.fairness.caller import Caller
from server.fairness.shares import NoRoom, Turn
from server.http.protocol import HttpProtocol
from server.process.connections import Connections

_TLS_SECONDS: Final = 15.0
_OTHERS_FIRST: Final = 0.001
_FULL_PAUSE: Final = 0.5
_AT_ONCE: Final = 32
"""Connections that are taken in one turn of the event loop; each takes up to 0.2 ms."""

_CLOSED_AT_ONCE: Final = 64
_ESTABLISHED: Final = 1
"""The state of a TCP connection that no side has closed, in the first byte of Linux's `tcp_info`."""

_QUEUED: Final = struct.Struct("24xI")
"""Linux's `tcp_info` of a listening socket: the connections that wait to be accepted (`tcpi_unacked`)."""

_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: Final = logging.getLogger("ostiary.workers")


class Acceptor:
    """Takes connections from a socket, no more of one address than it may have, and none that its client has closed.

    A client that closes its connections at once would else fill the kernel's queue with them, and others wait in it.

    Where so many `workers` share the socket, it takes its part of those that wait and leaves the next ones to others
    for a millisecond, so that all get some of a crowd. With one at a time a probe would wait for 0.1 s behind a crowd,
    since a turn of a busy event loop takes some milliseconds. A single connection is not delayed. `protocol` makes the
    object that a connection talks to.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], HttpProtocol],
        tls: ssl.SSLContext | None,
        connections: Connections,
        *,
        workers: int = 1,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._connections = connections
        self._workers = workers
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
        wanted, closed = self._part(), 0
        taken = 0
        while taken < wanted and closed < _CLOSED_AT_ONCE:
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break  # another process was faster, or the client has gone
            except OSError as fault:
                if fault.errno not in _FULL:
                    raise
                _log.error("a connection can't be accepted: %s", fault.strerror)
                self._pause(_FULL_PAUSE)
                return
            caller = self._connections.caller(peer[0])
            turn = None if _is_left(connection) else self._connections.one_more(caller)
            if turn is None:
                connection.close()
                closed += 1
                continue
            taken += 1
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greeting.start("new connection", self._greet(connection, caller, turn))
        if taken and self._workers > 1:
            self._pause(_OTHERS_FIRST)

    def _part(self) -> int:
        """Return the number of connections that may be taken now.

        Where others take some too, it is half of an equal part of those that wait: a whole part would leave too few to
        a process that comes a little later.
        """
        if self._workers == 1:
            return _AT_ONCE
        if sys.platform != "linux":
            return 1
        info = self._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED.size)
        waiting: int = _QUEUED.unpack(info)[0]
        return min(_AT_ONCE, max(1, ceil(waiting / (2 * self._workers))))

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.start()

    async def _greet(self, connection: socket.socket, caller: Caller, turn: Turn) -> None:
        """Begin to talk to a client; `turn` ends with the connection."""
        protocol = self._protocol()
        protocol.caller, protocol.on_lost = caller, turn.end
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: protocol, connection)
                return
            async with self._connections.handshakes.turn(1, caller):
                await self._loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=_TLS_SECONDS
                )
        except (OSError, TimeoutError, NoRoom):
            connection.close()  # a client that has gone, or doesn't speak TLS
            turn.end()
        except BaseException:
            turn.end()
            raise


def _is_left(connection: socket.socket) -> bool:
    """Return whether the client has closed a connection that is just accepted, where the system can tell."""
    if sys.platform != "linux":
        return False
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
