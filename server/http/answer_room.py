"""The middleware that gives back the room of an answer when its client has it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from server.fairness.outgoing import OutgoingAnswers


class AnswerRoom:
    """Lets each request take room for its answer, and gives the room back when the answer is sent.

    A piece is sent once the connection's buffer has room, so that what is left at the end is no more than that buffer
    and one slice of `server.http.responses.SLICE`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._room = OutgoingAnswers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with self._room.answer():
            await self.app(scope, receive, send)
