"""Connections to providers that are cut when they are given up.

aiohttp sends the rest of a request before it closes a connection, which never ends if the provider does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.tracing import Trace

_given: Final = ContextVar[asyncio.Transport | None]("ostiary.connection", default=None)


class _CleanConnector(aiohttp.BaseConnector):
    """Hands out no connection on which unexpected data waits, and remembers the one of the current task."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp has it
    ) -> aiohttp.connector.Connection:
        """Return a connection, new or used before."""
        connection = await super().connect(req, traces, timeout)
        # aiohttp looks before it puts a connection aside, and would take what came later for the next answer.
        while connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        _given.set(connection.transport)
        return connection


class Connector(_CleanConnector, aiohttp.TCPConnector):
    """Such connections to an address."""


class SocketConnector(_CleanConnector, aiohttp.UnixConnector):
    """Such connections to a Unix socket, each for one request, whatever URL that has."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), limit=0, force_close=True)


@contextmanager
def cut_on_failure() -> Iterator[None]:
    """Cut the connection over which the block has sent a request, if the block fails."""
    try:
        yield
    except BaseException:
        transport = _given.get()
        if transport is not None:
            transport.abort()
        raise
    finally:
        _given.set(None)


def cut(response: aiohttp.ClientResponse) -> None:
    """Cut the connection of a response, unless the response is read to its end; can be called twice."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
