"""The hot path to OPA: a bounded pool of kept-alive connections over a Unix socket or TCP, under one deadline.

Asking is what every request pays for, so this is no general HTTP client: one method, two paths, one content type, no
proxies, no redirects, no cookies, and a fifth of the processor time that one would take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.opa.connection import ClosedUnanswered, Connection
from server.net.trace_context import CURRENT

DEADLINE: Final = 0.25
"""Seconds for one question, everything included: waiting for a connection, making one, and the answer."""

MAX_CONNECTIONS: Final = 16
"""Questions that OPA has at a time; more would share its processors and all be late, where some could be done soon."""


class Entrypoint(StrEnum):
    """The only paths that are ever asked. Without strict errors a failing built-in under `not` would count as true."""

    DECISION = "/v1/data/ostiary/decision/answer?strict-builtin-errors=true"
    DECISIONS = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"
    FILTER = "/v1/data/ostiary/filters/answer?strict-builtin-errors=true"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """OPA listens on this socket; the file system says who may ask."""

    path: Path


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """OPA listens on this host and port, and asks for `token` if it has one."""

    host: str
    port: int
    token: str | None = None

    def __post_init__(self) -> None:
        for text in (self.host, self.token or "none"):
            if not text.isascii() or not text.isprintable() or " " in text or not text:
                raise ValueError("the host and the token of opa are printable ascii without blanks")

    @property
    def authority_host(self) -> str:
        """The host as URLs and `Host` headers have it: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


class OpaTransport:
    """Carries questions to one OPA; belongs to the event loop that first uses it."""

    def __init__(
        self, address: UnixAddress | TcpAddress, *, deadline: float = DEADLINE, connections: int = MAX_CONNECTIONS
    ) -> None:
        self._address = address
        self._deadline = deadline
        self._max = connections
        self._open: set[Connection] = set()
        self._connecting = 0
        self._closed = False
        self._beside: list[OpaTransport] = []
        self._idle: list[Connection] = []
        self._queue: deque[asyncio.Future[Connection | None]] = deque()
        self._heads = {entrypoint: _head(address, entrypoint) for entrypoint in Entrypoint}

    async def exchange(self, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        """Return the body of OPA's 200 answer to the JSON `body`; raises PolicyUnavailable for any other outcome.

        Asks a second time only if a kept-alive connection turns out to have been closed before any byte of the answer,
        which is how a restarted OPA looks from here.
        """
        expires = asyncio.get_running_loop().time() + self._deadline
        trace = CURRENT.get()
        request = self._heads[entrypoint] % (len(body), b"" if trace is None else trace.line) + body
        connection = self._idle.pop() if self._idle else await self._acquire(expires)
        kept_alive = connection.answered > 0
        try:
            return await self._ask(connection, request, expires)
        except ClosedUnanswered:
            if not kept_alive:
                raise
        self._close_idle()
        return await self._ask(await self._acquire(expires), request, expires)

    def beside(self, *, connections: int, deadline: float | None = None) -> OpaTransport:
        """Return another pool of connections to the same OPA, which closes with this one and never waits for it."""
        deadline = self._deadline if deadline is None else deadline
        other = OpaTransport(self._address, deadline=deadline, connections=connections)
        self._beside.append(other)
        return other

    def close(self) -> None:
        """Close every connection for good; questions under way and later ones fail. Idempotent."""
        self._closed = True
        for other in self._beside:
            other.close()
        for connection in tuple(self._open):
            connection.close()

    async def _ask(self, connection: Connection, request: bytes, expires: float) -> bytes:
        answer = connection.send(request)
        timer = asyncio.get_running_loop().call_at(expires, connection.expire)
        try:
            return await answer
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            timer.cancel()
            if connection.usable:
                self._give_back(connection)

    async def _acquire(self, expires: float) -> Connection:
        """Return an idle connection, a new one, or the next one that is given back."""
        while not self._idle:
            if len(self._open) + self._connecting < self._max:
                return await self._connect(expires)
            connection = await self._wait_in_queue(expires)
            if connection is not None and connection.usable:
                return connection
        return self._idle.pop()

    async def _wait_in_queue(self, expires: float) -> Connection | None:
        """Return a connection given back, or None where one was closed and its place is free."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout_at(expires):
                return await turn
        except BaseException as ended:
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            if isinstance(ended, TimeoutError):
                raise PolicyUnavailable(Failure.DEADLINE, "no connection to opa became free in time") from None
            raise

    def _give_back(self, connection: Connection | None) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is not None and connection.usable:
            self._idle.append(connection)

    async def _connect(self, expires: float) -> Connection:
        connection = None
        self._connecting += 1
        try:
            if self._closed:
                raise PolicyUnavailable(Failure.CLOSED, "the server closed its connections to opa")
            async with asyncio.timeout_at(expires):
                connection = await self._dial()
            if not connection.usable:
                raise PolicyUnavailable(Failure.CLOSED, "opa closed a new connection")
            self._open.add(connection)
        except TimeoutError:
            raise PolicyUnavailable(Failure.DEADLINE, "opa did not accept a connection in time") from None
        except (OSError, UnicodeError):
            raise PolicyUnavailable(Failure.UNREACHABLE, "opa can't be reached") from None
        finally:
            self._connecting -= 1
            if connection not in self._open:
                self._give_back(None)
        return connection

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        if isinstance(self._address, UnixAddress):
            _, connection = await loop.create_unix_connection(lambda: Connection(self._forget), str(self._address.path))
        else:
            host, port = self._address.host, self._address.port
            _, connection = await loop.create_connection(lambda: Connection(self._forget), host, port)
        return connection

    def _forget(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        self._open.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._give_back(None)

    def _close_idle(self) -> None:
        for connection in tuple(self._idle):
            connection.close()


def _head(address: UnixAddress | TcpAddress, entrypoint: Entrypoint) -> bytes:
    """Return everything before the body, with a place for its length and one for further header lines."""
    host, authorization = "opa", ""
    if isinstance(address, TcpAddress):
        host = f"{address.authority_host}:{address.port}"
        authorization = f"Authorization: Bearer {address.token}\r\n" if address.token else ""
    head = f"POST {entrypoint} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: application/json\r\n"
    return head.replace("%", "%%").encode("ascii") + b"Content-Length: %d\r\n%b\r\n"
