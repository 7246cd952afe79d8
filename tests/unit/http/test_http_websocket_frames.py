"""The reader of frames: messages come out whole however they are cut, and what is too much ends before it is held."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from wsproto.frame_protocol import Frame, Opcode, ParseFailed

from server.http.websocket.frames import MOST_FRAGMENTS, PIECE, SMALL, FrameReader
from tests.support.socket_client import frame

MOST = 100_000


def read(reader: FrameReader, data: bytes) -> list[tuple[int, object]]:
    return [(found.opcode, found.payload) for found in reader.feed(data)]


@settings(max_examples=40)
@given(
    texts=some.lists(some.text(max_size=300), max_size=3),
    cuts=some.lists(some.integers(0, 3000), max_size=20),
)
def test_messages_come_out_whole_however_they_are_cut(texts: list[str], cuts: list[int]) -> None:
    sent, expected = b"", []
    for text in texts:
        whole = text.encode()
        third = len(whole) // 3  # which may be within a letter
        sent += frame(1, whole[:third], last=False) + frame(9, b"?") + frame(0, whole[third:])
        expected += [(Opcode.PING, b"?"), (Opcode.TEXT, whole)]
    reader, found = FrameReader(MOST), []
    for start, end in pairwise(sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})):
        found += read(reader, sent[start:end])
    assert found == expected
    assert (reader.size, reader.is_open) == (0, False)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("op", [1, 9])
def test_a_frame_is_open_from_its_first_byte_to_its_last(op: int, size: int) -> None:
    if op == 9 and size > 125:
        return
    reader, sent = FrameReader(MOST), frame(op, b"x" * size)
    for place in range(min(len(sent) - 1, 20)):
        assert read(reader, sent[place : place + 1]) == []
        assert reader.is_open
    assert read(reader, sent[min(len(sent) - 1, 20) :]) == [(op, b"x" * size)]
    assert not reader.is_open
    read(reader, frame(1, b"x", last=False))
    assert reader.is_open and reader.size == 1


@pytest.mark.parametrize("size", [MOST + 1, 2**20, 2**63 - 1])
def test_a_message_that_is_too_large_ends_with_its_head(size: int) -> None:
    with pytest.raises(ParseFailed) as found:
        read(FrameReader(MOST), b"\x81\xff" + size.to_bytes(8))
    assert found.value.code == 1009


def test_the_bytes_of_a_message_are_counted_over_its_frames() -> None:
    letter = "é".encode()
    half, rest = b"x" * (MOST // 2 - 1) + letter[:1], letter[1:] + b"x" * (MOST // 2 - 1)
    reader = FrameReader(MOST)
    for _ in range(2):
        assert read(reader, frame(1, half, last=False) + frame(9, b"?" * 125)) == [(Opcode.PING, b"?" * 125)]
        assert reader.size == len(half)
        assert read(reader, frame(0, rest)) == [(Opcode.TEXT, half + rest)]
    read(reader, frame(1, half, last=False))
    with pytest.raises(ParseFailed) as found:
        read(reader, frame(0, rest + b"x")[:8])
    assert found.value.code == 1009


def test_a_message_has_so_many_frames_and_no_more() -> None:
    reader, start = FrameReader(MOST), frame(1, b"x", last=False)
    # Head by head in two parts: each is looked at twice, and counted once.
    for piece in [start, *[frame(0, b"", last=False)] * (MOST_FRAGMENTS - 2)]:
        assert read(reader, piece[:3]) + read(reader, piece[3:]) == []
    assert read(reader, frame(9, b"") + frame(0, b"")) == [(Opcode.PING, b""), (Opcode.TEXT, b"x")]
    read(reader, start + frame(0, b"", last=False) * (MOST_FRAGMENTS - 1))
    with pytest.raises(ParseFailed) as found:
        read(reader, frame(0, b""))
    assert found.value.code == 1008


def test_more_is_read_at_once_within_a_long_frame_only() -> None:
    reader, long = FrameReader(MOST), frame(1, b"x" * MOST)
    assert reader.at_once == SMALL
    read(reader, long[:SMALL])
    assert reader.at_once == PIECE
    read(reader, long[SMALL:-2000])
    assert reader.at_once == 2000
    read(reader, long[-2000:-1])
    assert reader.at_once == SMALL
    assert len(read(reader, long[-1:])) == 1 and reader.at_once == SMALL


def test_a_message_that_is_coming_takes_its_bytes_and_no_more() -> None:
    message = ("x" * 999 + "\N{GRINNING FACE}") * 1000
    sent = frame(1, message.encode())[:-1]
    reader, found = FrameReader(len(sent)), list[Frame]()
    tracemalloc.start()
    for place in range(0, len(sent), PIECE):
        found += reader.feed(sent[place : place + PIECE])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found and len(sent) * 0.9 < held < len(sent) * 1.2
