"""A client that leaves, as its connection tells: nothing has to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LEAVING: Final = "ostiary.leaving"
"""The key, in the scope, of the `Leaving` of a request that came over HTTP/1.1."""


class Leaving:
    """The client of one request: `is_gone` once it has closed the connection, `is_heard` once its request is whole.

    Before that a connection may not be read, so that its end is not seen.
    """

    __slots__ = ("_calls", "is_gone", "is_heard")

    def __init__(self, *, is_heard: bool) -> None:
        self.is_gone = False
        self.is_heard = is_heard
        self._calls: list[Callable[[], None]] = []

    def watch(self, call: Callable[[], None]) -> None:
        """Call this when the client leaves, until `unwatch`."""
        self._calls.append(call)

    def unwatch(self, call: Callable[[], None]) -> None:
        """Call this no more."""
        self._calls.remove(call)

    def tell(self) -> None:
        """Note that the client is gone, and call what watches."""
        self.is_gone = True
        for call in (*self._calls,):
            call()
