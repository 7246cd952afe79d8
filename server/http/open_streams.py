"""The streams that are being sent, so that a server that stops can end them properly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from server.http.interruptible import Interruptible


class StreamEnded(Exception):
    """The server ends a stream before the provider does."""


class OpenStreams:
    """Every stream that is being sent by this process."""

    def __init__(self) -> None:
        self._open: set[Interruptible] = set()
        self._ended = False

    def count(self) -> int:
        """Return the number of open streams."""
        return len(self._open)

    def end_all(self) -> None:
        """Have every stream, and every one that begins from now on, say that the server stops, and end.

        Returns at once; a client that does not read may keep its stream from ending.
        """
        self._ended = True
        for stream in self._open:
            stream.interrupt()

    @contextmanager
    def one_more(self) -> Iterator[Interruptible]:
        """Yield a stream, as long as the context lasts; it waits for its provider in blocks that raise StreamEnded."""
        stream = Interruptible(StreamEnded)
        if self._ended:
            stream.interrupt()
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)
