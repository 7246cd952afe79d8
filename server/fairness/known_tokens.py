"""The callers of tokens that were verified before."""

from __future__ import annotations

from typing import Final

from server.fairness.caller import Caller
from server.fairness.remembered import Remembered

MAX_KNOWN: Final = 10_000
"""Tokens whose callers are remembered; of the caller that has most of them the oldest is forgotten first."""


class KnownTokens:
    """The callers of tokens that were verified, so that a request waits in its caller's turn from its first moment.

    It decides about turns alone: every token is verified again. Holds the SHA-256 of tokens only.
    """

    def __init__(self) -> None:
        self._callers: Remembered[Caller] = Remembered(MAX_KNOWN)

    def caller(self, digest: bytes) -> Caller | None:
        """Return the caller of a token, if it is known."""
        return self._callers.get(digest)

    def remember(self, digest: bytes, caller: Caller) -> None:
        """Remember the caller of a token that was verified."""
        if self._callers.get(digest) == caller:
            self._callers.use(digest)
        else:
            self._callers.put(digest, caller, caller)

    def forget(self, digest: bytes) -> None:
        """Forget a token that was refused: it no longer waits in its caller's turn."""
        self._callers.drop(digest)
