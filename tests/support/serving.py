"""A real server on a real socket, with the protocol, the parser and the event loop of production."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps, loads
from select import select
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from server.http.cors import Cors
from server.http.protocol_config import http_protocol
from server.http.protocol_errors import Count
from server.net.protocol_errors import ProtocolError
from tests.support.patience import PATIENCE


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        return f"http://{self.host}:{self.port}"

    def get(self, target: str, *headers: str, method: str = "GET") -> Answer:
        """The answer to a request without a body; `target` goes out as it is."""
        return self.ask(method, target, *headers)

    def post(self, target: str, body: Any, *headers: str, kind: str = "application/json") -> Answer:
        """The answer to a body: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else dumps(body).encode()
        return self.ask("POST", target, *headers, body=raw, kind=kind)

    def ask(
        self,
        method: str,
        target: str,
        *headers: str,
        body: Any = None,
        kind: str = "application/json",
        timeout: float = PATIENCE,
    ) -> Answer:
        """The answer to a request; the body as `request_of` takes it."""
        request = request_of(method, target, *headers, body=body, kind=kind)
        return parsed(self.exchange(request, head_only=method == "HEAD", timeout=timeout))

    def exchange(self, request: bytes, *, head_only: bool = False, timeout: float = PATIENCE) -> bytes:
        """What comes back for exactly these bytes, until the server closes or one whole answer has come."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(request)
            answer = b""
            while not is_whole(answer, head_only):
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
            return answer


def request_of(method: str, target: str, *headers: str, body: Any = None, kind: str = "application/json") -> bytes:
    """The bytes of a request. A body of bytes is of that `kind`, anything else becomes JSON; None is none."""
    raw, about = b"", []
    if body is not None:
        raw = body if isinstance(body, bytes) else dumps(body).encode()
        about = [f"Content-Length: {len(raw)}", *([f"Content-Type: {kind}"] if kind else [])]
    lines = [f"{method} {target} HTTP/1.1", "Host: here", *about, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + raw


def is_whole(answer: bytes, head_only: bool) -> bool:
    """Whether `answer` holds a head, and as much body as that announces unless it is for a HEAD request."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found or head_only:
        return bool(found)
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        return body.endswith(b"0\r\n\r\n")
    lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    return len(body) >= lengths[0]


def _uncounted(reason: ProtocolError) -> None:
    """Most tests are about something else."""


@contextmanager
def serving(app: ASGIApp, count: Count = _uncounted, cors: Cors | None = None) -> Iterator[Address]:
    """`app` behind uvicorn, as the launcher runs it, in a thread of its own.

    `count` is told what is refused before, and `cors` of the origin that such a request comes from.
    """
    ready: Future[Address] = Future()
    server = uvicorn.Server(http_protocol(app, count, cors, log_config=None))
    thread = threading.Thread(target=_serve, args=(server, ready))
    thread.start()
    try:
        yield ready.result(2 * PATIENCE)
    finally:
        server.should_exit = True
        thread.join(2 * PATIENCE)


def _serve(server: uvicorn.Server, ready: Future[Address]) -> None:
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, runner as loop:
            loop.run(_serve_on(listener, server, ready))
    except BaseException as fault:
        if not ready.done():
            ready.set_exception(AssertionError(f"the server did not start: {fault!r}"))
        raise


async def _serve_on(listener: socket.socket, server: uvicorn.Server, ready: Future[Address]) -> None:
    address = Address(*listener.getsockname())
    announce = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await announce(sockets)
        ready.set_result(address)

    server.startup = startup  # type: ignore[method-assign]  # uvicorn tells nobody when it is ready
    await server.serve([listener])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer taken apart; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of an envelope, which must be one to the letter."""
        document = self.json
        assert document.keys() == {"error"}
        error: dict[str, Any] = document["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str) and error["message"]
        assert self.headers["content-type"] == "application/json"
        return error


def parsed(raw: bytes) -> Answer:
    """The one answer in `raw`."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs), "a header comes twice"
    if headers.get("transfer-encoding") == "chunked":
        body = _dechunked(body)
    return Answer(int(status.split(" ")[1]), headers, body)


def like_any_other(answer: Answer, *names: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs from one request to the next, be it the `names` that were asked for."""
    own = ("x-request-id", "openai-processing-ms", "date")
    body = answer.body
    for name in names:
        body = body.replace(name.encode(), b"X" * len(name))
    return answer.status, {name: value for name, value in answer.headers.items() if name not in own}, body


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole


def drip_until_answered(connection: socket.socket, piece: bytes, most: float = PATIENCE) -> None:
    """Send `piece` every 20 ms until the server answers or closes; fails if it has not within `most` seconds.

    The client never stands still and never ends by itself, so no limit but one of the whole time can end it.
    """
    ends = time.monotonic() + most
    while not select([connection], [], [], 0.02)[0]:
        assert time.monotonic() < ends, "a client that drips may go on for ever"
        connection.sendall(piece)


def until_closed(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection, or resets it."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received
