"""The interface between HTTP and authentication providers."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Scope

from policy.vocabulary import Principal


class AuthenticationFailed(Exception):
    """The credential is refused: 401. The message is safe to show and never holds any part of the credential."""


class IdentityUnavailable(Exception):
    """The credential can't be checked now: 503. The message is safe to show; the log says why.

    `seconds` is the time after which a retry may succeed. `is_outage` is False where callers exceed their allowance and
    no dependency of the server has failed.
    """

    def __init__(self, message: str, seconds: int = 1, *, is_outage: bool = True) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.is_outage = is_outage


class Authenticator(Protocol):
    """Turns a credential into its principal. Belongs to the event loop that first uses it."""

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed`, `IdentityUnavailable` or `NoRoom`.

        `NoRoom` is raised where too many tokens that aren't known wait to be checked. `request` is the path, query and
        headers that the token came with, for providers that judge them too.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
