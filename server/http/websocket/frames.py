"""Frames of WebSockets (RFC 6455): the reader of those that clients send, and the bytes of those that they are sent.

No extension is ever agreed on, so that nothing is compressed and no reserved bit has a meaning.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha1
from typing import Final

MOST_FRAGMENTS: Final = 1024
"""Frames of one message: to read more of them, however short, would keep others waiting."""

LONGEST_CONTROL: Final = 125
"""Bytes of a ping, a pong or a close."""

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_MASK: Final = 4


class Op(IntEnum):
    """The kinds of frames."""

    MORE = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Code(IntEnum):
    """The reasons to close a connection: those of the RFC, and one of ours for a token that is over."""

    NORMAL = 1000
    AWAY = 1001
    PROTOCOL = 1002
    TEXT_ALONE = 1003
    POLICY = 1008
    TOO_LARGE = 1009
    FAILED = 1011
    RESTART = 1012
    BUSY = 1013
    TOKEN_OVER = 4401


class BrokenFrame(Exception):
    """The client has sent what no connection goes on after; `code` is the reason to close it."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole message of text, or a control frame."""

    op: Op
    data: bytes


class FrameReader:
    """Reads what a client sends; messages have at most `most` bytes. `size` are the bytes of the one that is coming."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._head = bytearray()
        self._mask = b""
        self._op = Op.MORE
        self._is_last = False
        self._left = -1  # bytes of the frame's data that are to come; -1 in front of its head
        self._control = bytearray()
        self._message: list[bytes] | None = None
        self._fragments = 0
        self.size = 0

    @property
    def is_open(self) -> bool:
        """True while a frame or a message has begun and is not whole."""
        return bool(self._head) or self._left >= 0 or self._message is not None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what becomes whole with these bytes; raises BrokenFrame, after which nothing may be fed."""
        view, place = memoryview(data), 0
        while place < len(view):
            if self._left < 0:
                place += self._take_head(view[place:])
                if self._left != 0:
                    continue
            piece = view[place : place + self._left]
            place += len(piece)
            yield from self._take(piece)

    def _take_head(self, view: memoryview) -> int:
        """Take bytes of a head, and return how many; `_left` is set when it is whole."""
        taken = 0
        while taken < len(view):
            wanted = self._head_size() - len(self._head)
            piece = view[taken : taken + wanted]
            self._head += piece
            taken += len(piece)
            if len(self._head) == self._head_size():
                self._begin()
                break
        return taken

    def _head_size(self) -> int:
        """Return the bytes of the head, as far as they are known."""
        if len(self._head) < 2:
            return 2
        return 2 + {126: 2, 127: 8}.get(self._head[1] & ~_MASKED, 0) + _MASK

    def _begin(self) -> None:
        """Begin the frame whose head is whole; raises BrokenFrame."""
        first, second = self._head[0], self._head[1]
        if first & _RESERVED or not second & _MASKED:
            raise BrokenFrame(Code.PROTOCOL, "a frame has a reserved bit, or no mask")
        try:
            op = Op(first & 0x0F)
        except ValueError:
            raise BrokenFrame(Code.PROTOCOL, "a frame is of no known kind") from None
        size = second & ~_MASKED
        if size >= 126:
            size = int.from_bytes(self._head[2:-_MASK])
        self._op, self._is_last, self._mask = op, bool(first & _FIN), bytes(self._head[-_MASK:])
        self._head.clear()
        if op >= Op.CLOSE:
            if size > LONGEST_CONTROL or not self._is_last:
                raise BrokenFrame(Code.PROTOCOL, "a control frame is too long, or in parts")
            self._control.clear()
        else:
            self._begin_data(op, size)
        self._left = size

    def _begin_data(self, op: Op, size: int) -> None:
        if op is Op.BINARY:
            raise BrokenFrame(Code.TEXT_ALONE, "messages are texts")
        if (op is Op.MORE) is (self._message is None):
            raise BrokenFrame(Code.PROTOCOL, "a message begins in another one, or goes on before it has begun")
        if op is Op.TEXT:
            self._message, self._fragments, self.size = [], 0, 0
        self._fragments += 1
        if self._fragments > MOST_FRAGMENTS:
            raise BrokenFrame(Code.POLICY, f"a message has more than {MOST_FRAGMENTS} frames")
        if self.size + size > self._most:
            raise BrokenFrame(Code.TOO_LARGE, f"a message is larger than {self._most} bytes")

    def _take(self, piece: memoryview) -> Iterator[Frame]:
        """Take bytes of the frame's data, and yield what they make whole."""
        plain = _unmasked(piece, self._mask)
        turned = len(piece) % _MASK
        self._mask = self._mask[turned:] + self._mask[:turned]
        self._left -= len(piece)
        if self._op >= Op.CLOSE:
            self._control += plain
        elif self._message is not None:
            self._message.append(plain)
            self.size += len(plain)
        if self._left:
            return
        self._left = -1
        if self._op >= Op.CLOSE:
            yield Frame(self._op, bytes(self._control))
        elif self._is_last and self._message is not None:
            text, self._message, self.size = b"".join(self._message), None, 0
            yield Frame(Op.TEXT, text)


def _unmasked(data: memoryview, mask: bytes) -> bytes:
    size = len(data)
    pattern = (mask * (size // _MASK + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(pattern)).to_bytes(size)


def is_key(value: bytes) -> bool:
    """Return whether a header `Sec-WebSocket-Key` is one: 16 bytes in base64."""
    return _KEY.fullmatch(value) is not None


def accept_of(key: bytes) -> bytes:
    """Return the answer to a key, which proves that its reader speaks this protocol, and protects nothing."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def head_of(op: Op, size: int) -> bytes:
    """Return the head of a whole frame with so many bytes of data, which follow it as they are."""
    first = bytes([_FIN | op])
    if size < 126:
        return first + bytes([size])
    if size < 2**16:
        return first + b"\x7e" + size.to_bytes(2)
    return first + b"\x7f" + size.to_bytes(8)


def frame_of(op: Op, data: bytes) -> bytes:
    """Return a whole frame."""
    return head_of(op, len(data)) + data


def close_of(code: int, reason: str) -> bytes:
    """Return the frame that closes a connection; the reason is short."""
    return frame_of(Op.CLOSE, code.to_bytes(2) + reason.encode()[: LONGEST_CONTROL - 2])
