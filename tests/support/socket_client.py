"""A client of WebSockets that sends exactly the frames that a test wants."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any

from tests.support.patience import PATIENCE
from tests.support.serving import Address, Answer, parsed

PATH = "/v1/responses"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OFFER = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
ENDS = {"response.completed", "response.incomplete", "response.failed"}


def frame(op: int, data: bytes, *, last: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """The bytes of one frame."""
    size, flag = len(data), 0x80 if masked else 0
    head = bytes([(0x80 if last else 0) | reserved | op])
    if size < 126:
        head += bytes([flag | size])
    elif size < 2**16:
        head += bytes([flag | 126]) + size.to_bytes(2)
    else:
        head += bytes([flag | 127]) + size.to_bytes(8)
    if not masked:
        return head + data
    mask = os.urandom(4)
    pattern = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(data) ^ int.from_bytes(pattern)).to_bytes(size)


@dataclass
class Socket:
    """An open WebSocket."""

    connection: socket.socket
    come: bytearray = field(default_factory=bytearray)

    def send(self, *frames: bytes) -> None:
        """Send these bytes."""
        self.connection.sendall(b"".join(frames))

    def create(self, text: Any = "hi", **more: Any) -> None:
        """Ask for a response."""
        body = {"type": "response.create", "model": "small", "input": text, **more}
        self.send(frame(1, dumps({name: value for name, value in body.items() if value is not None}).encode()))

    def next(self) -> tuple[int, bytes]:
        """The next frame: its kind and its data; kind -1 where the connection has ended."""
        while True:
            found = self._whole()
            if found is not None:
                return found
            try:
                part = self.connection.recv(65536)
            except ConnectionError:
                return -1, b""
            if not part:
                return -1, b""
            self.come += part

    def event(self) -> Any:
        """The next event, which must be a text."""
        op, data = self.next()
        assert op == 1, (op, data)
        return loads(data)

    def response(self, text: Any = "hi", **more: Any) -> list[Any]:
        """The events of a response, or the one that tells of an error."""
        self.create(text, **more)
        return self.events()

    def events(self) -> list[Any]:
        """The events up to the end of a response, or to an error."""
        found = [self.event()]
        while found[-1]["type"] not in ENDS | {"error"}:
            found.append(self.event())
        return found

    def closed(self) -> int:
        """The code with which the server closes the connection; what it sends before is dropped."""
        while True:
            op, data = self.next()
            if op in (8, -1):
                return int.from_bytes(data[:2]) if op == 8 else 0

    def _whole(self) -> tuple[int, bytes] | None:
        if len(self.come) < 2:
            return None
        op, size, start = self.come[0] & 0x0F, self.come[1], 2
        assert self.come[0] & 0x80 and size < 128
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(self.come[2:start]) if len(self.come) >= start else 2**40
        if len(self.come) < start + size:
            return None
        data = bytes(self.come[start : start + size])
        del self.come[: start + size]
        return op, data


@contextmanager
def opened(address: Address, *headers: str, path: str = PATH, timeout: float = PATIENCE) -> Iterator[Socket]:
    """A WebSocket that must open."""
    with socket.create_connection((address.host, address.port), timeout=timeout) as connection:
        answer = offered(connection, *headers, path=path)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), answer
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        yield Socket(connection, bytearray(rest))


def refused(address: Address, *headers: str, path: str = PATH) -> Answer:
    """The answer to an offer that must not be taken."""
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
        answer = offered(connection, *headers, path=path)
        while part := connection.recv(65536):
            answer += part
        return parsed(answer)


def offered(connection: socket.socket, *headers: str, path: str = PATH, behind: bytes = b"") -> bytes:
    """What comes back first for an offer to speak WebSocket, with these bytes right behind it."""
    lines = (f"GET {path} HTTP/1.1", "Host: here", f"Sec-WebSocket-Key: {KEY}", *OFFER, *headers, "", "")
    connection.sendall("\r\n".join(lines).encode() + behind)
    answer = b""
    while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
        answer += part
    return answer
