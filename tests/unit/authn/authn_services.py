"""The services that can be asked about a token, as real HTTP servers that speak the documented wire formats."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """A running service: what it was asked, and how it answers."""

    reply: Callable[[Asked], tuple[int, Any] | tuple[int, Any, dict[str, str]]]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it."""

    def __post_init__(self) -> None:
        self.go_on.set()


@contextmanager
def service(
    reply: Callable[[Asked], tuple[int, Any] | tuple[int, Any, dict[str, str]]], context: ssl.SSLContext | None = None
) -> Iterator[Service]:
    """A service on loopback; `reply` gives status, body (bytes as they are, else as JSON) and perhaps headers."""
    running = Service(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            running.asked.append(asked)
            running.go_on.wait(30)
            status, body, *more = running.reply(asked)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has left, as some of the tests want

        do_GET = do_POST = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a TLS client that doesn't trust us hangs up

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        running.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
