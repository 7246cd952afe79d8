"""The room that the WebSockets of one process share."""

from __future__ import annotations

from typing import Final

from server.fairness.caller import Caller
from server.fairness.places import Pieces
from server.fairness.shares import FairShares, Share, Turn
from server.http.websocket.memory import REMEMBERED
from server.json_input.reader import LARGE

SOCKETS: Final = Share("WebSockets", 2048, 64, waiting=0, waiting_each=0, seconds=1.0)
"""WebSockets that are open in one process."""

CHUNKS: Final = Share("chunks of messages", 2, 1, waiting=4096, waiting_each=4096, seconds=300.0)
"""Chunks of what comes on WebSockets that are read in one turn of the event loop; each takes some milliseconds."""

INCOMING_FRAMES: Final = Share("bytes of large messages", 256 * 1024 * 1024, 40 * 1024 * 1024, 0, 0, seconds=1.0)
"""Bytes of large messages that are coming in on WebSockets."""


class SocketShares:
    """The shares of one process: connections, messages that are coming in, and what connections remember."""

    def __init__(self) -> None:
        self.sockets = FairShares(SOCKETS)
        self.coming = FairShares(INCOMING_FRAMES)
        self.chunks = Pieces(CHUNKS)
        self.remembered = FairShares(REMEMBERED)


class HeldRoom:
    """The room that one connection holds for a large message that is coming."""

    def __init__(self, shares: FairShares) -> None:
        self._shares = shares
        self._held: list[Turn] = []
        self._size = 0

    def grow(self, size: int, caller: Caller) -> None:
        """Hold room for so many bytes in all, if they are large; raises NoRoom."""
        more = size - self._size
        if size < LARGE or more <= 0:
            return
        turn = self._shares.take_now(more, caller)
        if turn is None:
            raise self._shares.refusal(more, caller)
        self._held.append(turn)
        self._size += more

    def release(self) -> None:
        """Give all of it back."""
        for turn in self._held:
            turn.end()
        self._held.clear()
        self._size = 0
