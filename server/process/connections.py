"""The connections of one process, shared by the addresses that they come from."""

from __future__ import annotations

import resource
from itertools import count
from typing import Final

from server.fairness.caller import Caller
from server.fairness.shares import FairShares, Share, Turn
from server.net.client_address import ClientAddresses

MAX_CONNECTIONS: Final = 16_384
"""Connections of one process, or half as many as it may have open files where that is less: a stream takes two."""

PART_OF_AN_ADDRESS: Final = 4
"""One address has at most one of so many parts of them. A proxy that is trusted may have them all."""

HANDSHAKES: Final = Share("new connections", 64, 8, waiting=MAX_CONNECTIONS, waiting_each=MAX_CONNECTIONS, seconds=15.0)
"""TLS handshakes at the same time, in all and of one address; each takes a millisecond or two."""


class Connections:
    """Counts connections, and gives those that come the turn of their address."""

    def __init__(self, addresses: ClientAddresses) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else max(4, min(MAX_CONNECTIONS, files // 2))
        self.open = FairShares(Share("connections", most, most // PART_OF_AN_ADDRESS, 0, 0, seconds=1.0))
        self.handshakes = FairShares(HANDSHAKES)
        self._addresses = addresses
        self._numbers = count()

    def caller(self, host: str) -> Caller:
        """Return whose share a connection from `host` uses; each of a trusted proxy has one of its own."""
        if self._addresses.is_proxy(host):
            return ("proxy", str(next(self._numbers)))
        return ("address", self._addresses.shown(host))

    def one_more(self, caller: Caller) -> Turn | None:
        """Return the turn of a new connection, to be ended with it; None where it must be refused."""
        return self.open.take_now(1, caller)
