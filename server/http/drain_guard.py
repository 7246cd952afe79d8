"""The guard that refuses requests once the server is ending."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.errors import ApiError
from server.http.request_state import state_of


class Shutdown:
    """The end of the server: `begun` once it was told to end, `over` once it no longer waits for requests."""

    def __init__(self) -> None:
        self.begun = False
        self.over = False


class DrainGuard:
    """Answers with 503 the requests that come after the end has begun, and those that the end interrupts."""

    def __init__(self, app: ASGIApp, ending: Shutdown) -> None:
        self.app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless the server is ending."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._ending.begun:
            raise _refusal()
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if state_of(scope).status or not self._ending.over:
                raise
            raise _refusal() from None


def _refusal() -> ApiError:
    headers = {"Retry-After": "1", "x-should-retry": "true", "Connection": "close"}
    sentence = "the server is ending and takes no more requests; try again, and another one answers"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="server_ending", headers=headers)
