"""Limit of the memory of bodies that are coming in, since a client may send very many slowly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.fairness.caller import Caller
from server.fairness.shares import FairShares, Share, Turn


class MemoryLimit:
    """A limit of bytes, which callers share."""

    def __init__(self, share: Share) -> None:
        self.shares = FairShares(share)

    @contextmanager
    def share(self, caller: Caller) -> Iterator[Callable[[int], None]]:
        """Provide a function that takes more bytes until the context ends; it raises NoRoom."""
        held: list[Turn] = []

        def hold(size: int) -> None:
            turn = self.shares.take_now(size, caller)
            if turn is None:
                raise self.shares.refusal(size, caller)
            held.append(turn)

        try:
            yield hold
        finally:
            for turn in held:
                turn.end()
