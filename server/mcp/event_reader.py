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
        self._rest = bytearray()
        self._searched = 0
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    @property
    def held(self) -> int:
        """Bytes of what is not a whole event yet."""
        return len(self._rest) + self._size

    def fed(self, piece: bytes) -> list[Event]:
        """Return the events that a piece ends; raises TooLarge."""
        self._rest += piece
        found: list[Event] = []
        while (end := self._line_end()) is not None:
            line = bytes(self._rest[: end[0]])
            del self._rest[: end[1]]
            self._searched = 0
            event = self._taken(line)
            if event is not None:
                found.append(event)
        if self.held > self._most:
            raise TooLarge
        return found

    def _line_end(self) -> tuple[int, int] | None:
        """Return where the first line ends and where the next one begins; a CR at the very end may be half of CRLF."""
        rest, start = self._rest, self._searched
        line_feed = rest.find(b"\n", start)
        carriage = rest.find(b"\r", start, len(rest) if line_feed < 0 else line_feed)
        if carriage >= 0 and carriage + 1 < len(rest):
            return carriage, carriage + 1 + (rest[carriage + 1] == ord("\n"))
        if line_feed >= 0 and carriage < 0:
            return line_feed, line_feed + 1
        self._searched = len(rest) if carriage < 0 else carriage
        return None

    def _taken(self, line: bytes) -> Event | None:
        if not line:
            data, name = b"\n".join(self._data), self._name
            had_data = bool(self._data)
            self._data, self._name, self._size = [], b"", 0
            return Event(name.decode(errors="replace") or "message", data) if had_data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value[:64]
        return None
