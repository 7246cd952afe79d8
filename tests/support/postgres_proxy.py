"""A way to PostgreSQL that is cut when an answer comes back: what was asked is done, and whoever asked isn't told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tests.support.patience import PATIENCE


class Cutting:
    """Connections to `url` go where they should, and are cut at an answer in which one of `at` is."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._host = query.pop("host", parts.hostname or "localhost")
        self._port = parts.port or 5432
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        login = parts.netloc.rpartition("@")[0]
        place = f"{login}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(parts._replace(netloc=place, query=urlencode(query)))
        self.at: tuple[bytes, ...] = ()

    def start(self) -> None:
        """Take connections."""
        self._run(self._accept)

    def close(self) -> None:
        """Cut all of them."""
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join(PATIENCE)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                self._sockets.append(near)
                far = self._connected()
                self._sockets.append(far)
                self._run(self._relay, near, far, False)
                self._run(self._relay, far, near, True)

    def _connected(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(f"{self._host}/.s.PGSQL.{self._port}")
        except OSError:
            far.close()
            raise
        return far

    def _relay(self, source: socket.socket, target: socket.socket, may_cut: bool) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not (may_cut and any(each in data for each in self.at)):
                target.sendall(data)
        _end(source)
        _end(target)

    def _run(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given)
        self._threads.append(thread)
        thread.start()


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(url: str) -> Iterator[Cutting]:
    """Such a way to the PostgreSQL at that address."""
    way = Cutting(url)
    way.start()
    try:
        yield way
    finally:
        way.close()
