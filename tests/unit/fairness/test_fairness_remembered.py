"""The memory that callers share: how many values it keeps, how large ones, and whose go first."""

from __future__ import annotations

from policy.vocabulary import Principal
from server.fairness.remembered import Remembered, bytes_of

SMALL, LARGE = ("small",), ("large",)


def test_a_bounded_memory_forgets_the_oldest_of_the_holder_with_most() -> None:
    memory: Remembered[int] = Remembered(4)
    small, large, new = ("s",), ("l",), ("n",)
    memory.put(b"s", 0, small)
    for number in range(6):
        memory.put(b"l%d" % number, number, large)
    assert [memory.get(b"l%d" % number) for number in range(6)] == [None, None, None, 3, 4, 5]
    assert memory.get(b"s") == 0
    memory.use(b"s")
    memory.put(b"n", 7, new)
    assert memory.get(b"l3") is None, "the oldest of all, whose holder has more"
    memory.put(b"s", 1, small)
    assert (len(memory), memory.get(b"s"), memory.get(b"n")) == (4, 1, 7)
    memory.drop(b"s")
    memory.drop(b"s")
    assert len(memory) == 3
    memory.clear()
    assert len(memory) == 0


def test_large_values_are_few() -> None:
    memory: Remembered[int] = Remembered(100, 1000)
    for number in range(20):
        memory.put(b"%d" % number, number, (str(number),), 300)
    assert [number for number in range(20) if memory.get(b"%d" % number) is not None] == [17, 18, 19]
    memory.put(b"19", 0, ("19",), 100)
    memory.drop(b"18")
    memory.put(b"20", 0, ("20",), 600)
    assert len(memory) == 3, "what is replaced or dropped counts no more"
    memory.clear()
    memory.put(b"21", 0, ("21",), 1000)
    memory.put(b"22", 0, ("22",), 0)
    assert len(memory) == 2


def test_large_values_of_one_holder_drop_none_of_another() -> None:
    memory: Remembered[int] = Remembered(100, 1000)
    memory.put(b"s", 1, SMALL, 100)
    for number in range(20):
        memory.put(b"%d" % number, number, LARGE, 300)
    assert [memory.get(b"s"), *map(memory.get, (b"16", b"17", b"18", b"19"))] == [1, None, 17, 18, 19]
    memory.put(b"new", 1, ("new",), 300)
    assert memory.get(b"s") is None, "the oldest of all, where the holder of the new one has no other"
    assert memory.get(b"new") == 1


def test_one_value_is_kept_however_large() -> None:
    memory: Remembered[int] = Remembered(100, 1000)
    memory.put(b"s", 1, SMALL, 100)
    memory.put(b"l", 2, LARGE, 5000)
    assert (memory.get(b"s"), memory.get(b"l")) == (None, 2)
    memory.put(b"s", 1, SMALL, 100)
    assert (memory.get(b"s"), memory.get(b"l")) == (1, None)


def test_the_bytes_of_a_principal_are_those_of_its_texts() -> None:
    plain = bytes_of(Principal("ann", "issuer", {}))
    many = bytes_of(Principal("ann", "issuer", {"teams": tuple(f"team-{number:04}" for number in range(1000))}))
    wide = bytes_of(
        Principal("ann", "issuer", {"teams": tuple(f"{chr(0x4E00) * 200}{number}" for number in range(10))})
    )
    assert plain < 200
    assert 50_000 < many < 100_000
    assert 4_000 < wide < 6_000
