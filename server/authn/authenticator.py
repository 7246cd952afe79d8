"""The seam between the door and whoever vouches for a caller."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Scope

from policy.vocabulary import Principal


class AuthenticationFailed(Exception):
    """The credential proves nothing: 401. The message is safe to show and never holds any part of the credential."""


class IdentityUnavailable(Exception):
    """It can't be told now whether the credential is good: 503. The message is safe to show; the log says why.

    `seconds` is the time after which another try may be answered. `is_outage` is false where callers alone are the
    reason, because they ask for more than is granted: nothing that the server depends on has failed then.
    """

    def __init__(self, message: str, seconds: int = 1, *, is_outage: bool = True) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.is_outage = is_outage


class Authenticator(Protocol):
    """Turns a credential into the principal that it proves. Belongs to the event loop that first uses it."""

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal whom `token` proves; raises `AuthenticationFailed`, `IdentityUnavailable` and nothing else.

        `request` is what the token came with, for those who judge it too: its path, query and headers.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
