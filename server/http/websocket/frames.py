"""Frames of WebSockets (RFC 6455), which wsproto reads and writes: what it leaves open is bounded here.

No extension is ever agreed on, so that nothing is compressed and no reserved bit has a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

MOST_FRAGMENTS: Final = 1024
"""Frames of one message: to read more of them, however short, would keep others waiting."""

TOKEN_OVER: Final = 4401
"""The code that closes the connection of a token that is over."""

SMALL: Final = 1024
"""Bytes that are read at once where many short frames may be among them."""

PIECE: Final = 64 * 1024
"""Bytes that are read at once in the middle of a long frame."""

OUT: Final = FrameProtocol(client=False, extensions=[])
"""Makes the short frames of all connections: a ping, a pong, a close, a text in one frame. It keeps nothing."""

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_MASK: Final = 4


class FrameReader:
    """Reads what a client sends; messages are texts of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._bounds = _Bounds(most)
        self._frames = FrameProtocol(client=False, extensions=[self._bounds])
        self._parts: list[bytes] = []
        self._begun = 0  # bytes that have come of the frame that is not whole

    @property
    def size(self) -> int:
        """The bytes that have come of the message that is not whole."""
        return self._bounds.size

    @property
    def is_open(self) -> bool:
        """True while a frame or a message has begun and is not whole."""
        return self._begun > 0 or self._bounds.fragments > 0

    @property
    def at_once(self) -> int:
        """The bytes that take some milliseconds at most, if they are fed now."""
        return max(SMALL, min(self._bounds.left, PIECE))

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what becomes whole with these bytes: control frames, and each message as one frame of bytes.

        Raises ParseFailed, whose code is the reason to close the connection. After that, and after a frame that
        closes, nothing may be fed.
        """
        self._begun += len(data)
        self._frames.receive_bytes(data)
        for frame in self._frames.received_frames():
            if frame.frame_finished:
                self._begun -= self._bounds.whole
            if isinstance(frame.payload, str):
                # As bytes, it takes the room that is counted: one character in four bytes would make all others so.
                self._parts.append(frame.payload.encode())
                if not frame.message_finished:
                    continue
                frame = frame._replace(payload=b"".join(self._parts))
                self._parts.clear()
                self._bounds.clear()
            yield frame


class _Bounds(Extension):
    """Sees the head of each frame before its data come, and the data; it is never offered to a client.

    `size` bytes and `fragments` whole frames have come of a message, `left` bytes of a frame are to come, and it has
    `whole` bytes in all.
    """

    name = "bounds"

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_control = False
        self.size = self.fragments = self.left = self.whole = 0

    def enabled(self) -> bool:
        """Return True: it looks at every frame."""
        return True

    def offer(self) -> bool:
        """Return False: it is not offered to a client."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        """Take a head, which may come again with its mask; raises ParseFailed for a frame that is too much."""
        if opcode is Opcode.BINARY:
            raise ParseFailed("messages are texts", CloseReason.UNSUPPORTED_DATA)
        self._is_control = opcode.iscontrol()
        if not self._is_control:
            if self.fragments >= MOST_FRAGMENTS:
                raise ParseFailed(f"a message has more than {MOST_FRAGMENTS} frames", CloseReason.POLICY_VIOLATION)
            if self.size + payload_length > self._most:
                raise ParseFailed(f"a message is larger than {self._most} bytes", CloseReason.MESSAGE_TOO_BIG)
        self.left = payload_length
        self.whole = len(text_head(payload_length)) + _MASK + payload_length
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        """Count data that have come."""
        self.left -= len(data)
        self.size += 0 if self._is_control else len(data)
        return data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Count a frame that is whole."""
        self.fragments += not self._is_control

    def clear(self) -> None:
        """Begin with the next message."""
        self.size = self.fragments = 0


def is_key(value: bytes) -> bool:
    """Return whether a header `Sec-WebSocket-Key` is one: 16 bytes in base64."""
    return _KEY.fullmatch(value) is not None


def text_head(size: int) -> bytes:
    """Return the head of a text of so many bytes, which follow it in slices; wsproto copies a whole message for it."""
    first = bytes([0x80 | Opcode.TEXT])
    if size < 126:
        return first + bytes([size])
    if size < 2**16:
        return first + b"\x7e" + size.to_bytes(2)
    return first + b"\x7f" + size.to_bytes(8)
