"""Frames of AWS event streams: whole however they arrive, and refused where they are wrong or too large."""

from __future__ import annotations

from struct import pack
from zlib import crc32

import pytest

from server.inference.providers.bedrock.frames import MAX_FRAME, MAX_FRAME_HEADERS, BrokenFrame, Frame, Frames
from tests.support.bedrock_stub import frame


def made(
    headers: bytes = b"", payload: bytes = b"", *, length: int | None = None, of_headers: int | None = None
) -> bytes:
    """A frame with right checksums, whatever it says of its lengths."""
    length = 16 + len(headers) + len(payload) if length is None else length
    head = pack(">II", length, len(headers) if of_headers is None else of_headers)
    head += pack(">I", crc32(head))
    return head + headers + payload + pack(">I", crc32(head + headers + payload))


def header(kind: int, value: bytes) -> bytes:
    return b"\x01a" + bytes([kind]) + value


def test_frames_are_whole_however_they_are_cut() -> None:
    data = frame(b"first", event_type="a") + frame(b"", event_type="b", message_type="event")
    expected = [Frame({":event-type": "a"}, b"first"), Frame({":event-type": "b", ":message-type": "event"}, b"")]
    for size in (1, 7, len(data)):
        frames = Frames()
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert [found for part in cut for found in frames.take(part)] == expected


def test_headers_of_other_kinds_are_passed_over() -> None:
    sizes = {
        0: b"",
        1: b"",
        2: b"1",
        3: b"12",
        4: b"1234",
        5: b"12345678",
        6: b"\0\x02ab",
        8: b"12345678",
        9: b"1" * 16,
    }
    headers = b"".join(header(kind, value) for kind, value in sizes.items()) + b"\x01b\x07\0\x01c"
    assert [*Frames().take(made(headers, b"p"))] == [Frame({"b": "c"}, b"p")]


@pytest.mark.parametrize(
    "data",
    [
        made(length=15),
        made(length=MAX_FRAME + 1),
        made(b"", b"p", of_headers=2),
        made(b"\x01a\x06\0\x04", of_headers=9),
        pack(">III", 100, 0, 0),
        made(length=MAX_FRAME, of_headers=MAX_FRAME_HEADERS + 1),
        made(payload=b"p")[:8] + b"\0\0\0\0" + made(payload=b"p")[12:],
        made(payload=b"p")[:-4] + b"\0\0\0\0",
        made(payload=b"p").replace(b"p", b"q"),
        made(header(10, b"")),
        made(header(7, b"\0\x05abcd")),
        made(header(7, b"\0")),
        made(header(4, b"123")),
        made(b"\x05a"),
        made(header(7, b"\0\x01\xff")),
    ],
)
def test_what_is_no_frame_or_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFrame):
        [*Frames().take(data)]


def test_the_largest_frame_is_read() -> None:
    [found] = Frames().take(made(payload=b"p" * (MAX_FRAME - 16)))
    assert len(found.payload) == MAX_FRAME - 16
