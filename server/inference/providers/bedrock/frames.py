"""Frames of AWS event streams: a head with lengths and checksums, headers of text, and a payload.

A frame is: its length and that of its headers (four bytes each), the CRC of these, the headers, the payload, and the
CRC of everything before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final
from zlib import crc32

MAX_FRAME: Final = 1024 * 1024
"""Bytes of one frame of a stream from Bedrock, which holds a few tokens."""

MAX_FRAME_HEADERS: Final = 16 * 1024
"""Bytes of the headers of one frame."""

_HEAD: Final = Struct(">III")
_CRC: Final = Struct(">I")
_LENGTH: Final = Struct(">H")
_AROUND: Final = _HEAD.size + _CRC.size
_TEXT: Final = 7
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Sizes of the values of headers by their types; types 6 and 7 say theirs."""


class BrokenFrame(Exception):
    """Bytes are no frame, or one that is too large."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its headers of text, and its payload."""

    headers: Mapping[str, str]
    payload: bytes


class Frames:
    """Takes bytes as they arrive, and yields the whole frames among them; holds no more than one frame."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; raises BrokenFrame."""
        held = self._held
        held += data
        while len(held) >= _HEAD.size:
            length, of_headers, checksum = _HEAD.unpack_from(held)
            if checksum != crc32(memoryview(held)[:8]):
                raise BrokenFrame
            if not _AROUND <= length <= MAX_FRAME or of_headers > min(MAX_FRAME_HEADERS, length - _AROUND):
                raise BrokenFrame
            if len(held) < length:
                return
            frame = bytes(held[:length])
            del held[:length]
            yield _frame(frame, of_headers)


def _frame(frame: bytes, of_headers: int) -> Frame:
    (checksum,) = _CRC.unpack_from(frame, len(frame) - _CRC.size)
    if checksum != crc32(memoryview(frame)[: -_CRC.size]):
        raise BrokenFrame
    start = _HEAD.size + of_headers
    return Frame(dict(_headers(frame[_HEAD.size : start])), frame[start : -_CRC.size])


def _headers(text: bytes) -> Iterator[tuple[str, str]]:
    """Yield the headers that are texts; raises BrokenFrame where one is cut or of an unknown type."""
    at = 0
    while at < len(text):
        name = _cut(text, at + 1, text[at])
        at += 1 + len(name)
        kind = _cut(text, at, 1)[0]
        at += 1
        size = _SIZES.get(kind)
        if size is None:
            if kind not in (6, _TEXT):
                raise BrokenFrame
            (size,) = _LENGTH.unpack(_cut(text, at, _LENGTH.size))
            at += _LENGTH.size
        value = _cut(text, at, size)
        at += size
        if kind == _TEXT:
            try:
                yield name.decode(), value.decode()
            except UnicodeDecodeError:
                raise BrokenFrame from None


def _cut(text: bytes, start: int, size: int) -> bytes:
    part = text[start : start + size]
    if len(part) < size:
        raise BrokenFrame
    return part
