"""A line to a service that can be cut and mended: what the server connects to is the same address all the time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from tests.support.ports import free_port

_PIECE: Final = 65536


class Line:
    """Passes bytes between those who connect to `port` and the service at `target`, unless it is cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.mend()

    def mend(self) -> None:
        """Take connections, on the port that it had before."""
        self._listener = listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse further ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            ending = [*self._open]
        for each in ending if listener is None else [listener, *ending]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            try:
                theirs = socket.create_connection(self._target)
            except OSError:
                ours.close()
                continue
            with self._lock:
                late = listener is not self._listener
                if not late:
                    self._open |= {ours, theirs}
            if late:  # the line was cut after it had been taken
                ours.close()
                theirs.close()
                return
            for source, target in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        with self._lock:
            self._open -= {source, target}


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """A line to the service at `url`."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    line = Line((parts.hostname, parts.port))
    try:
        yield line
    finally:
        line.cut()
