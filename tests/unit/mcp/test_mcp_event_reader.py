"""Server-sent events, cut at any byte."""

from __future__ import annotations

from itertools import product
from time import process_time

import pytest

from server.mcp.event_reader import Event, EventReader, TooLarge

STREAM = (
    ": hello\n\nevent: a\ndata: 1\ndata:2\n\nid: 7\nretry: 5\ndata:  x\n\n"
    "event: lost\n\ndata: last\n\ndata: never ended\n"
)
EXPECTED = [Event("a", b"1\n2"), Event("message", b" x"), Event("message", b"last")]


@pytest.mark.parametrize(("ends", "size"), [*product(["\n", "\r\n", "\r"], [1, 2, 3, 7, 1000])])
def test_events_are_found_wherever_the_stream_is_cut(ends: str, size: int) -> None:
    raw = STREAM.replace("\n", ends).encode()
    reader, found = EventReader(100), list[Event]()
    for start in range(0, len(raw), size):
        found += reader.fed(raw[start : start + size])
    assert found == EXPECTED


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 50, b"data: x\n" * 50, b"data:\n" * 101, b"x" * 101])
def test_an_event_is_bounded(piece: bytes) -> None:
    reader = EventReader(100)
    with pytest.raises(TooLarge):
        for _ in range(3):
            reader.fed(piece)


def test_what_is_whole_is_not_held() -> None:
    reader = EventReader(100)
    for _ in range(100):
        assert reader.fed(b": " + b"x" * 50 + b"\n\ndata: y\n\n") == [Event("message", b"y")]
    assert reader.held == 0


def test_empty_lines_of_data_are_lines_of_the_event() -> None:
    reader = EventReader(100)
    assert reader.fed(b"data:\ndata\n") == []
    assert reader.held == 2
    assert reader.fed(b"data: x\n\ndata:\n\n") == [Event("message", b"\n\nx"), Event("message", b"")]


@pytest.mark.alone
@pytest.mark.parametrize("line", [b"x", b"data:\n"])
def test_what_has_come_is_not_counted_again_with_each_piece(line: bytes) -> None:
    reader, began = EventReader(1024 * 1024), process_time()
    for _ in range(60_000):
        reader.fed(line)
    assert process_time() - began < 2.0
