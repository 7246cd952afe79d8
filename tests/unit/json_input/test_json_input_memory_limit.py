"""The memory of bodies that are coming in: limited for all and for each, and never kept."""

from __future__ import annotations

import pytest

from server.fairness.shares import NoRoom, Share
from server.json_input.memory_limit import MemoryLimit

ONE, OTHER = ("a",), ("b",)


def limit(capacity: int, each: int) -> MemoryLimit:
    return MemoryLimit(Share("bytes", capacity, each, 0, 0, seconds=1.0))


def test_one_caller_cannot_fill_it_and_is_told_that_it_is_its_own_share() -> None:
    room = limit(400, 100)
    with room.share(ONE) as hold:
        hold(60)
        hold(40)
        with room.share(ONE) as more, pytest.raises(NoRoom) as refused:
            more(1)
        assert refused.value.of_caller
        with room.share(OTHER) as theirs:
            theirs(100)
    assert (room.shares.used, len(room.shares._holders)) == (0, 0)


def test_all_together_have_only_so_much() -> None:
    room = limit(100, 60)
    with room.share(ONE) as hold, room.share(OTHER) as theirs:
        hold(60)
        with pytest.raises(NoRoom) as refused:
            theirs(50)
        assert not refused.value.of_caller
        theirs(40)
    assert (room.shares.used, len(room.shares._holders)) == (0, 0)
