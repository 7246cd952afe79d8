"""A real server on a real socket, with the protocol, the parser and the event loop of production."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
import uvloop
from starlette.types import ASGIApp

from server.http1 import door


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        return f"http://{self.host}:{self.port}"

    def exchange(self, request: bytes, *, timeout: float = 10.0) -> bytes:
        """What comes back for exactly these bytes, until the server closes or one whole answer has come."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(request)
            answer = b""
            while not is_whole(answer):
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
            return answer


def is_whole(answer: bytes) -> bool:
    """Whether `answer` holds a head and as much body as it announces."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        return body.endswith(b"0\r\n\r\n")
    lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    return len(body) >= lengths[0]


@contextmanager
def serving(app: ASGIApp) -> Iterator[Address]:
    """`app` behind uvicorn, as the launcher runs it, in a thread of its own."""
    ready: Future[Address] = Future()
    server = uvicorn.Server(door(app, log_config=None))
    thread = threading.Thread(target=_serve, args=(server, ready))
    thread.start()
    try:
        yield ready.result(timeout=10)
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _serve(server: uvicorn.Server, ready: Future[Address]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve_on(listener, server, ready))


async def _serve_on(listener: socket.socket, server: uvicorn.Server, ready: Future[Address]) -> None:
    address = Address(*listener.getsockname())
    announce = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await announce(sockets)
        ready.set_result(address)

    server.startup = startup  # type: ignore[method-assign]  # uvicorn tells nobody when it is ready
    await server.serve([listener])
