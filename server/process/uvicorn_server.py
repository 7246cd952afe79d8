"""A uvicorn server that drains: requests under way may end, and new ones are refused."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from server.http.drain_guard import Shutdown
from server.http.protocol import HttpProtocol
from server.net.client_address import ClientAddresses
from server.process.acceptor import Acceptor
from server.process.connections import Connections

GRACE_SECONDS: Final = 10.0
"""The time that requests under way have once the server was told to end."""

LAST_SECONDS: Final = 2.0
"""The time after that for the last events and answers to reach their clients."""

_POLL_SECONDS: Final = 0.1


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain at its end; `announce` is called once it accepts connections.

    `addresses` knows which connections are those of proxies; `workers` processes accept from the same socket.

    Told to stop, it closes idle connections at once and answers new requests with 503, so that balancers see it
    leave. What is under way has `GRACE_SECONDS`; then `end_streams` is called, and `LAST_SECONDS` later the rest is
    cut. uvicorn's own signal handlers are left out: they would raise the signal again in the middle of our clean-up.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        ending: Shutdown,
        end_streams: Callable[[], None],
        announce: Callable[[], None],
        addresses: ClientAddresses,
        *,
        workers: int = 1,
    ) -> None:
        super().__init__(config)
        self._workers = workers
        self._connections = Connections(addresses)
        self._acceptors: list[Acceptor] = []
        self._ending = ending
        self._end_streams = end_streams
        self._announce = announce

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the caller of `stop` handles the signals."""
        yield

    def stop(self) -> None:
        """End gently; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._ending.begun = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup([])
        for listener in sockets or ():
            acceptor = Acceptor(listener, self._protocol, self.config.ssl, self._connections, workers=self._workers)
            self._acceptors.append(acceptor)
            acceptor.start()
        self._announce()

    def _protocol(self) -> HttpProtocol:
        """Make the protocol of one connection, as uvicorn does."""
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what is under way, then let uvicorn close what is left."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._until_done(GRACE_SECONDS)
        self._end_streams()
        await self._until_done(LAST_SECONDS)
        self._ending.over = True
        for task in list(self.server_state.tasks):
            task.cancel()
        await self._until_done(LAST_SECONDS)
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    async def _until_done(self, seconds: float) -> None:
        """Return when no request is under way, the time is over, or the exit is forced."""
        clock = asyncio.get_running_loop().time
        expires = clock() + seconds
        while self.server_state.tasks and not self.force_exit and clock() < expires:
            await asyncio.wait(set(self.server_state.tasks), timeout=_POLL_SECONDS)
