"""The memory of a connection, for the requests that come on it and for no others."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from server.fairness.caller import Caller
from server.fairness.shares import FairShares, Share, Turn

REMEMBERED: Final = Share("bytes of unstored responses", 512 * 1024 * 1024, 32 * 1024 * 1024, 0, 0, seconds=1.0)
"""Bytes that the WebSockets of one process remember of responses with `store: false`."""

MOST_REMEMBERED: Final = 10
"""Values that one connection remembers; the oldest goes first."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of all of them together."""

LEAST_BYTES: Final = 4 * 1024
"""Bytes that each of them counts for at least."""


class ConnectionMemory:
    """Values by their names, for one connection of one caller; where there is no room, a value is not kept.

    `used` is the name of the last value that was found since it was None.
    """

    def __init__(self, shares: FairShares, caller: Caller) -> None:
        self._shares = shares
        self._caller = caller
        self._kept: dict[str, tuple[Any, int, Turn]] = {}
        self.used: str | None = None

    def get(self, name: str) -> Any:
        """Return the value of that name; None where there is none."""
        found = self._kept.get(name)
        if found is None:
            return None
        self.used = name
        return found[0]

    def keep(self, name: str, value: Any, size: int) -> None:
        """Remember a value of so many bytes, in the place of the oldest ones where it is too much with them."""
        size = max(size, LEAST_BYTES)
        self.forget(name)
        if size > MOST_BYTES:
            return
        while len(self._kept) >= MOST_REMEMBERED or sum(each[1] for each in self._kept.values()) + size > MOST_BYTES:
            self.forget(next(iter(self._kept)))
        turn = self._shares.take_now(size, self._caller)
        if turn is not None:
            self._kept[name] = value, size, turn

    def forget(self, name: str) -> None:
        """Drop the value of that name, if there is one."""
        found = self._kept.pop(name, None)
        if found is not None:
            found[2].end()

    def close(self) -> None:
        """Drop everything."""
        for name in [*self._kept]:
            self.forget(name)


CONNECTION: Final[ContextVar[ConnectionMemory | None]] = ContextVar("connection", default=None)
"""The memory of the connection that the request of this task has come on as a message; None for any other request."""
