"""Limit of the memory of bodies that are coming in, since a client may send very many slowly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from server.fairness.caller import Caller
from server.fairness.shares import FairShares, Share, Turn


class MemoryLimit:
    """A limit of bytes, which callers share."""

    def __init__(self, share: Share) -> None:
        self.shares = FairShares(share)

    def share(self, caller: Caller) -> AbstractContextManager[Callable[[int], None]]:
        """Provide a function that takes more bytes until the context ends; it raises NoRoom."""
        return _Part(self.shares, caller)


class _Part(AbstractContextManager[Callable[[int], None]]):
    """The bytes of one body."""

    __slots__ = ("_caller", "_held", "_shares")

    def __init__(self, shares: FairShares, caller: Caller) -> None:
        self._shares = shares
        self._caller = caller
        self._held: list[Turn] = []

    def __enter__(self) -> Callable[[int], None]:
        return self._hold

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for turn in self._held:
            turn.end()

    def _hold(self, size: int) -> None:
        turn = self._shares.take_now(size, self._caller)
        if turn is None:
            raise self._shares.refusal(size, self._caller)
        self._held.append(turn)
