"""The room for answers on their way out: a caller that does not read its answers fills its own share alone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Final

from server.fairness.shares import FairShares, Share, Turn

OUTGOING: Final = Share(
    "bytes of answers on their way out",
    capacity=256 * 1024 * 1024,
    each=32 * 1024 * 1024,
    waiting=1024,
    waiting_each=128,
    seconds=10.0,
)
"""Bytes of large answers that a process holds until their readers have them."""

OVERDRAFTS: Final = Share(
    "answers that need more room on their way out", capacity=8, each=1, waiting=1024, waiting_each=128, seconds=10.0
)
"""Requests that hold room, need more, and find none. They would wait for each other, so one of a caller at a time goes
beyond its share, by a page or two."""

UNCOUNTED: Final = 64 * 1024
"""Bytes of an answer that takes no room: a connection's buffer holds that much anyway."""


class _Answer(AbstractContextManager[None]):
    """The answer to one request, and the room that it holds."""

    __slots__ = ("_kept", "_overdraws", "_room", "_token", "_turns", "size")

    def __init__(self, room: OutgoingAnswers) -> None:
        self._room = room
        self._turns: list[Turn] = []
        self._kept: list[Turn] = []
        self._overdraws = False
        self.size = 0

    async def hold(self, size: int) -> None:
        """Take room; only a request that holds none waits for it."""
        room, turns = self._room, self._turns
        if not turns:
            turns.append(await room.shares.take(size))
        elif (more := room.shares.take_now(size)) is not None:
            turns.append(more)
        elif not self._overdraws:
            turns.append(await room.overdrafts.take())
            self._overdraws = True
        self.size += size

    def keep(self, turn: Turn) -> None:
        """End a turn of another share with the answer."""
        self._kept.append(turn)

    def __enter__(self) -> None:
        self._token = _ANSWER.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give all of the room back."""
        _ANSWER.reset(self._token)
        for turn in (*self._turns, *self._kept):
            turn.end()


_ANSWER: Final[ContextVar[_Answer | None]] = ContextVar("answer", default=None)


class OutgoingAnswers:
    """The room of one event loop."""

    def __init__(self, share: Share = OUTGOING, overdrafts: Share = OVERDRAFTS) -> None:
        self.shares = FairShares(share)
        self.overdrafts = FairShares(overdrafts)

    def answer(self) -> AbstractContextManager[None]:
        """Enter the time of one request, at whose end the room that it took is given back."""
        return _Answer(self)


async def hold(size: int) -> None:
    """Take room for `size` bytes of the current request's answer, before they are read or made; raises NoRoom."""
    answer = _ANSWER.get()
    if answer is not None and size > UNCOUNTED:
        await answer.hold(size)


async def hold_in_all(size: int) -> None:
    """Take what is missing until room for `size` bytes of the current request's answer is held; raises NoRoom."""
    answer = _ANSWER.get()
    if answer is not None and size > max(UNCOUNTED, answer.size):
        await answer.hold(size - answer.size)


def keep_until_sent(turn: Turn) -> None:
    """End a turn when the current request's answer is sent, for which it was taken; at once where there is none."""
    answer = _ANSWER.get()
    if answer is None:
        turn.end()
    else:
        answer.keep(turn)
