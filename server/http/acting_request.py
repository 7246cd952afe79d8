"""One request that the server makes to its own application, and the answer to it."""

from __future__ import annotations

from typing import Any, Final

from starlette.types import ASGIApp, Message

from server.background.spending import SPENDING, Spending
from server.http.acting import ACTING, Acting
from server.http.fair_turns import ARRIVED
from server.http.whole_body import WholeBody

_EVENTS: Final = b"text/event-stream"


class ActingRequest:
    """A POST of a JSON text of `path`; after `run`, `status` and `body` are those of its answer.

    `spending` says whether it may have cost something. An answer that is a stream is an error of the server.
    """

    def __init__(self, path: str, text: bytes, acting: Acting) -> None:
        self.acting = acting
        self.spending = Spending()
        self.status = 0
        self.request_id = ""
        self._path = path
        self._text = text
        self._parts: list[bytes] = []

    async def run(self, app: ASGIApp) -> None:
        """Put the request to the application, through all of its guards; call it once, in a task of its own."""
        SPENDING.set(self.spending)
        text, self._text = self._text, b""
        body = WholeBody(text)
        await app(self._scope(body, len(text)), body, self._take)

    @property
    def body(self) -> bytes:
        """The body of the answer."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    def _scope(self, body: WholeBody, size: int) -> dict[str, Any]:
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % size),
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "state": {},
            ARRIVED: body.is_there,
            ACTING: self.acting,
        }

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                if name == b"content-type" and value.startswith(_EVENTS):
                    raise RuntimeError("a request that the server makes is answered with a stream")
                if name == b"x-request-id":
                    self.request_id = value.decode("latin-1")
        elif piece := message.get("body", b""):
            self._parts.append(bytes(piece))
