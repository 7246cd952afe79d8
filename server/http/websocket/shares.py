"""The room that the WebSockets of one process share."""

from __future__ import annotations

from typing import Final

from server.fairness.shares import FairShares, Share
from server.http.websocket.memory import REMEMBERED

SOCKETS: Final = Share("WebSockets", 2048, 64, waiting=0, waiting_each=0, seconds=1.0)
"""WebSockets that are open in one process."""

COMING_FRAMES: Final = Share("bytes of large messages", 256 * 1024 * 1024, 40 * 1024 * 1024, 0, 0, seconds=1.0)
"""Bytes of large messages that are coming in on WebSockets."""


class SocketShares:
    """The shares of one process: connections, messages that are coming in, and what connections remember."""

    def __init__(self) -> None:
        self.sockets = FairShares(SOCKETS)
        self.coming = FairShares(COMING_FRAMES)
        self.remembered = FairShares(REMEMBERED)
