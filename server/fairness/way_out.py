"""The room for answers on their way out: a caller that does not read its answers fills its own share alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from server.fairness.shares import FairShares, Share, Turn

WAY_OUT: Final = Share(
    "bytes of answers on their way out",
    capacity=256 * 1024 * 1024,
    each=32 * 1024 * 1024,
    waiting=1024,
    waiting_each=128,
    seconds=10.0,
)
"""Bytes of large answers that a process holds until their readers have them."""

UNCOUNTED: Final = 64 * 1024
"""Bytes of an answer that takes no room: a connection's buffer holds that much anyway."""


class _Answer:
    """The answer to one request, and the room that it holds."""

    __slots__ = ("shares", "turns")

    def __init__(self, shares: FairShares) -> None:
        self.shares = shares
        self.turns: list[Turn] = []


_ANSWER: Final[ContextVar[_Answer | None]] = ContextVar("answer", default=None)


class WayOut:
    """The room of one event loop."""

    def __init__(self, share: Share = WAY_OUT) -> None:
        self.shares = FairShares(share)

    @contextmanager
    def answer(self) -> Iterator[None]:
        """The time of one request, at whose end the room that it took is given back."""
        answer = _Answer(self.shares)
        token = _ANSWER.set(answer)
        try:
            yield
        finally:
            _ANSWER.reset(token)
            for turn in answer.turns:
                turn.end()


async def hold(size: int) -> None:
    """Take room for `size` bytes of the current request's answer, before they are read or made; raises NoRoom.

    A request takes its room once: one that waits for more while it holds some would wait for itself.
    """
    answer = _ANSWER.get()
    if answer is not None and size > UNCOUNTED:
        answer.turns.append(await answer.shares.take(size))
