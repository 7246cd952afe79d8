"""A reader of server-sent events that come in pieces, bounded in size."""

from __future__ import annotations

from typing import NamedTuple


class TooLarge(Exception):
    """Raised for an event that is larger than may be."""


class Event(NamedTuple):
    """An event: its name, `message` where it has none, and its data."""

    name: str
    data: bytes


class EventReader:
    """Cuts a stream into events, of which none holds more than `most` bytes; ids and retries are passed over."""

    def __init__(self, most: int) -> None:
        self._most = most
        # What has come before is neither looked at nor counted again with each piece, of which there may be thousands.
        self._rest = bytearray()
        self._name = b""
        self._data = bytearray()

    @property
    def held(self) -> int:
        """Bytes of what is not a whole event yet."""
        return len(self._rest) + len(self._data)

    def fed(self, piece: bytes) -> list[Event]:
        """Return the events that a piece ends; raises TooLarge."""
        found: list[Event] = []
        for line in self._lines(piece):
            if line:
                self._take(line)
            elif self._data:
                found.append(Event(self._name.decode(errors="replace") or "message", bytes(self._data[:-1])))
                self._name = b""
                self._data.clear()
            else:
                self._name = b""
        if self.held > self._most:
            raise TooLarge
        return found

    def _lines(self, piece: bytes) -> list[bytes]:
        """Return the lines that a piece ends: at CR, LF or both. A CR at its very end may be half of both."""
        if self._rest.endswith(b"\r"):
            del self._rest[-1:]
            piece = b"\r" + piece
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, len(piece) - 1)) + 1
        if not end:
            self._rest += piece
            return []
        whole = bytes(self._rest) + piece[:end]
        self._rest[:] = piece[end:]
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return whole.split(b"\n")[:-1]

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            # The end of the line counts: there may be millions of empty ones.
            self._data += value + b"\n"
        elif field == b"event":
            self._name = value[:64]
