"""A client of streams, over a raw socket."""

from __future__ import annotations

import socket
from json import dumps, loads
from typing import Any, Self

from tests.support.patience import PATIENCE
from tests.support.serving import Address

CHAT = "/v1/chat/completions"


def body(model: str, *, stream: bool = True, said: str = "hi") -> dict[str, Any]:
    """A chat with the model that is called so at its provider."""
    return {"model": f"{model}-here", "stream": stream, "messages": [{"role": "user", "content": said}]}


class Client:
    """A client that reads when it is told to."""

    def __init__(
        self, address: Address, model: str, *, stream: bool = True, buffer: int | None = None, said: str = "hi"
    ) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((address.host, address.port))
        raw = dumps(body(model, stream=stream, said=said)).encode()
        lines = [f"POST {CHAT} HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read_until(self, mark: bytes) -> bytes:
        """Everything so far, which then holds `mark`."""
        while mark not in self.received:
            part = self.socket.recv(65536)
            assert part, f"closed before {mark!r}"
            self.received += part
        return self.received

    def read_to_end(self) -> bytes:
        """Everything, until the server closes."""
        while part := self.socket.recv(65536):
            self.received += part
        return self.received


def events(raw: bytes) -> list[Any]:
    """The data of the events of a whole stream; None for `[DONE]`."""
    *found, rest = raw.split(b"\n\n")
    assert rest == b""
    return [None if event == b"data: [DONE]" else loads(event.removeprefix(b"data: ")) for event in found]
