"""Memory for bodies that come in: no more than there is, a part of it for each caller, and all of it given back."""

from __future__ import annotations

import pytest

from server.json_input.memory_limit import SHARES, MemoryLimit
from server.json_input.queue import QueueFull


def test_a_caller_gets_its_part_and_no_more() -> None:
    room = MemoryLimit(100 * SHARES)
    with room.share("a") as hold, room.share("a") as again:
        hold(60)
        again(40)
        for more in (hold, again):
            with pytest.raises(QueueFull):
                more(1)
        with room.share("b") as other:
            other(100)


def test_all_together_get_what_there_is() -> None:
    room = MemoryLimit(100)
    with room.share("a") as a, room.share("b") as b, room.share("c") as c, room.share("d") as d, room.share("e") as e:
        for hold in (a, b, c, d):
            hold(25)
        with pytest.raises(QueueFull):
            e(1)


def test_what_was_held_is_given_back_whatever_happened() -> None:
    room = MemoryLimit(SHARES)
    for _ in range(3):
        with pytest.raises(QueueFull), room.share("a") as hold:
            hold(1)
            hold(1)
    with room.share("a") as hold:
        hold(1)
    assert not room._held
    assert room._free == SHARES
