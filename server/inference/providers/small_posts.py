"""Small requests to providers, written by hand over the connections of an aiohttp session.

A chat is a head and a few kilobytes. aiohttp makes a dozen objects and a task of their own for it, which costs more
than all else that a plain chat needs; its connections, its parser and its flow control are used as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from server.inference.providers.connections import CleanConnector, HttpAnswer

SMALL_POST: Final = 48 * 1024
"""Bytes of a body that is written at once, without a look at how fast the provider reads."""

MOST_ADDRESSES: Final = 64
"""Addresses whose heads are kept."""

_UNSENDABLE: Final = re.compile(r"[\r\n\x00]")
_TIMER: Final = TimerNoop()
_PROGRESS: Final = frozenset({100, *range(102, 200)})


class SmallAnswer:
    """The answer to a small request; its connection is given back once the body has come."""

    __slots__ = ("__weakref__", "connection", "content", "headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, content: aiohttp.StreamReader) -> None:
        self.status: int = message.code
        self.headers: Mapping[str, str] = message.headers
        self.content = content
        self.connection: Connection | None = connection
        content.on_eof(self._release)

    @property
    def content_length(self) -> int | None:
        """The length that the head tells, if it tells one."""
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)

    def close(self) -> None:
        """Close the connection, unless it was given back; what reads the body fails."""
        if not self.content.at_eof() and self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientConnectionError("the connection is closed"))
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()


class _Address(NamedTuple):
    """What aiohttp needs to find a connection to an address, and the head for the headers that were sent there last."""

    request: aiohttp.ClientRequest
    headers: Mapping[str, str]
    head: bytes


class SmallPosts:
    """Posts small bodies over the connections of a session, which makes no use of cookies, proxies or redirects."""

    def __init__(self, session: aiohttp.ClientSession, connector: CleanConnector, buffered: int) -> None:
        """`buffered` are the bytes of an answer that are read ahead."""
        self._session = session
        self._connector = connector
        self._buffered = buffered
        self._addresses: dict[URL, _Address] = {}

    async def post(self, url: URL, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Return the answer to a body of less than `SMALL_POST` bytes.

        The time until its head is there is the caller's to limit. Raises what aiohttp raises. Whatever fails, the
        connection is cut.
        """
        address = self._addresses.get(url)
        if address is None or address.headers != headers:
            address = self._made(url, headers)
        try:
            connection = await self._connector.clean(address.request, [], self._session.timeout)
        except TimeoutError as late:
            raise aiohttp.ConnectionTimeoutError("no connection was made in time") from late
        try:
            return await self._exchanged(connection, b"%b%d\r\n\r\n%b" % (address.head, len(body), body))
        except BaseException:
            if connection.transport is not None:
                connection.transport.abort()
            connection.close()
            raise

    async def _exchanged(self, connection: Connection, request: bytes) -> HttpAnswer:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was closed before the request")
        protocol.set_response_params(
            timer=_TIMER, read_until_eof=True, auto_decompress=False, read_timeout=None, read_bufsize=self._buffered
        )
        transport.write(request)
        message, content = await _first(protocol)
        if not content.is_eof():
            # Until here the caller's own clock runs, and most answers come as a whole.
            protocol.read_timeout = self._session.timeout.sock_read
            protocol.start_timeout()
        return SmallAnswer(connection, message, content)

    def _made(self, url: URL, headers: Mapping[str, str]) -> _Address:
        """Return what is sent to an address with these headers, and keep it for the next request."""
        request = aiohttp.ClientRequest("POST", url, headers=headers, session=self._session)
        lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
        own = {name.lower(): (name, value) for name, value in (*self._session.headers.items(), *headers.items())}
        merged = {name.lower(): (name, value) for name, value in request.headers.items()} | own
        merged.pop("content-length", None)
        lines += [f"{name}: {value}" for name, value in merged.values()]
        if any(_UNSENDABLE.search(line) for line in lines):
            raise ValueError("a header of a provider holds the end of a line")
        head = "\r\n".join([*lines, "Content-Length: "]).encode()
        if len(self._addresses) >= MOST_ADDRESSES:
            self._addresses.clear()
        made = self._addresses[url] = _Address(request, dict(headers), head)
        return made


async def _first(protocol: ResponseHandler) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """Return the head of the answer and its body, without the heads that tell of progress."""
    while True:
        try:
            message, content = await protocol.read()
        except HttpProcessingError as fault:
            raise aiohttp.ClientPayloadError("the answer is not well-formed HTTP") from fault
        if message.code not in _PROGRESS:
            return message, content
