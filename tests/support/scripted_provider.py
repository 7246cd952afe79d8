"""A provider that sends exactly the bytes that a test writes for it, and notes when it is left."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter

from tests.support.failing_provider import chunk
from tests.support.patience import PATIENCE

Script = Callable[[socket.socket], None]

# Each connection serves one request, and says so: a client that reused one would meet its end by chance.
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = HEAD + b"\r\n"
DONE = b"data: [DONE]\n\n"


@dataclass
class Scripted:
    """The running provider. `script` gets each connection once a request is read from it, and may be changed."""

    url: str = ""
    script: Script = lambda connection: None
    health: bytes | None = None
    """The answer to requests with GET, which ask for the models; None for that of the script."""
    requests: int = 0
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    """The head and the body of each request."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a request is read."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a script has ended, or when the other side has closed under it."""
    left_at: float = 0.0
    """When that was, by `perf_counter`."""

    def play(self, script: Script) -> None:
        """Follow this script from now on."""
        self.arrived.clear()
        self.left.clear()
        self.script = script


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The provider on loopback; each connection has a thread and serves one request."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        provider = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_accept, args=(provider, listener))
        thread.start()
        try:
            yield provider
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=PATIENCE)


def _accept(provider: Scripted, listener: socket.socket) -> None:
    threads = []
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threads.append(threading.Thread(target=_serve, args=(provider, connection)))
            threads[-1].start()
    for thread in threads:
        thread.join(timeout=PATIENCE)


def _serve(provider: Scripted, connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            asked = read_request(connection)
            if asked is not None:
                provider.requests += 1
                provider.asked.append(asked)
                provider.arrived.set()
                if provider.health is not None and asked[0].startswith("GET "):
                    connection.sendall(provider.health)
                else:
                    provider.script(connection)
        provider.left_at = perf_counter()
        provider.left.set()


def read_request(connection: socket.socket) -> tuple[str, bytes] | None:
    """Read the head and the body of one request; None if there is none, or not the whole of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < lengths[0]:
        part = connection.recv(65536)
        if not part:
            return None
        body += part
    return head.decode("latin-1"), body


def wait_until_left(connection: socket.socket) -> None:
    """Return when the other side has closed."""
    with suppress(OSError):
        while connection.recv(65536):
            pass


def reset(connection: socket.socket) -> None:
    """Close, so that the other side sees an error and not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def framed(body: bytes) -> bytes:
    """A body, or a part of one, as a chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def spoken(*texts: str) -> list[bytes]:
    """The events of a stream that says `texts`, without the last one."""
    return [chunk("m", {"content": text}) for text in texts]


def sending(*parts: bytes) -> Script:
    """A script that sends these parts, each on its own, and closes."""

    def script(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return script


def sending_all_but_the_end(*parts: bytes) -> Script:
    """A script that sends these parts and then nothing, until it is left."""

    def script(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        wait_until_left(connection)

    return script
