"""The memory of a connection: bounded by count, by bytes and by caller, and for nobody else."""

from __future__ import annotations

from server.fairness.shares import FairShares, Share
from server.http.websocket.memory import LEAST_BYTES, MOST_BYTES, MOST_REMEMBERED, ConnectionMemory

ALICE, BOB = ("principal", "issuer", "alice"), ("principal", "issuer", "bob")


def shares(each: int = 64 * MOST_BYTES) -> FairShares:
    return FairShares(Share("bytes of a test", 128 * MOST_BYTES, each, 0, 0, seconds=1.0))


def test_the_oldest_is_forgotten_first() -> None:
    memory = ConnectionMemory(shares(), ALICE)
    for number in range(MOST_REMEMBERED + 2):
        memory.keep(f"{number}", number, 1)
    assert [memory.get(f"{number}") for number in range(3)] == [None, None, 2]
    assert memory.used == "2"


def test_all_together_have_a_number_of_bytes() -> None:
    memory = ConnectionMemory(shares(), ALICE)
    memory.keep("small", "a", 1)
    memory.keep("large", "b", MOST_BYTES - LEAST_BYTES)
    assert (memory.get("small"), memory.get("large")) == ("a", "b")
    memory.keep("more", "c", 1)
    assert (memory.get("small"), memory.get("large"), memory.get("more")) == (None, "b", "c")
    memory.keep("too large", "d", MOST_BYTES + 1)
    assert (memory.get("too large"), memory.get("large")) == (None, "b")


def test_callers_share_the_room_and_give_it_back() -> None:
    room = shares(each=2 * LEAST_BYTES)
    first, second, other = ConnectionMemory(room, ALICE), ConnectionMemory(room, ALICE), ConnectionMemory(room, BOB)
    for memory in (first, second, other):
        memory.keep("a", 1, 1)
        memory.keep("b", 2, 1)
    assert [memory.get("a") for memory in (first, second, other)] == [1, None, 1]
    first.forget("a")
    first.forget("a")
    second.keep("c", 3, 1)
    assert second.get("c") == 3
    second.close()
    first.close()
    assert first.get("b") is None
    second.keep("d", 4, 2 * LEAST_BYTES)
    assert second.get("d") == 4
