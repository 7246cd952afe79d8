"""The callers of tokens that were verified before."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from server.fairness.caller import Caller

MAX_KNOWN: Final = 10_000
"""Tokens whose callers are remembered, those that came last."""


class KnownTokens:
    """The callers of tokens that were verified, so that a request waits in its caller's turn from its first moment.

    It decides about turns alone: every token is verified again. Holds the SHA-256 of tokens only.
    """

    def __init__(self) -> None:
        self._callers: OrderedDict[bytes, Caller] = OrderedDict()

    def caller(self, digest: bytes) -> Caller | None:
        """Return the caller of a token, if it is known."""
        return self._callers.get(digest)

    def remember(self, digest: bytes, caller: Caller) -> None:
        """Remember the caller of a token that was verified."""
        self._callers[digest] = caller
        self._callers.move_to_end(digest)
        if len(self._callers) > MAX_KNOWN:
            self._callers.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """Forget a token that was refused: it no longer waits in its caller's turn."""
        self._callers.pop(digest, None)
