"""A bounded memory that several holders share."""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof
from typing import Generic, TypeVar

from policy.vocabulary import Principal
from server.fairness.caller import Caller

_Value = TypeVar("_Value")


class _Held:
    """The keys of a holder, the oldest first, and the bytes of their values."""

    __slots__ = ("keys", "size")

    def __init__(self) -> None:
        self.keys: OrderedDict[bytes, None] = OrderedDict()
        self.size = 0


class Remembered(Generic[_Value]):
    """At most `most` values by key, each put in by a holder; of several, at most `most_bytes` where it is given.

    When it is full, the oldest value is dropped: that of the holder that puts one in, if it has more than the holder
    of the oldest of all. So a holder of many values, or of large ones, drops none of a holder of few.
    """

    def __init__(self, most: int, most_bytes: int | None = None) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._size = 0
        self._values: OrderedDict[bytes, tuple[_Value, Caller, int]] = OrderedDict()
        self._held: dict[Caller, _Held] = {}

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    def get(self, key: bytes) -> _Value | None:
        """Return the value of `key`, or None."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def use(self, key: bytes) -> None:
        """Make an existing value the newest."""
        self._values.move_to_end(key)
        self._held[self._values[key][1]].keys.move_to_end(key)

    def put(self, key: bytes, value: _Value, holder: Caller, size: int = 0) -> None:
        """Set the value of `key`, which has so many bytes, and make it the newest."""
        self.drop(key)
        self._values[key] = value, holder, size
        held = self._held.get(holder)
        if held is None:
            held = self._held[holder] = _Held()
        held.keys[key] = None
        held.size += size
        self._size += size
        if len(self._values) > self._most:
            oldest = self._oldest()
            self.drop(next(iter(held.keys)) if len(held.keys) > len(self._of(oldest).keys) else oldest)
        while self._most_bytes is not None and self._size > self._most_bytes and len(self._values) > 1:
            oldest = self._oldest()
            is_own = len(held.keys) > 1 and held.size > self._of(oldest).size
            self.drop(next(iter(held.keys)) if is_own else oldest)

    def drop(self, key: bytes) -> None:
        """Forget the value of `key`, if there is one."""
        _, holder, size = self._values.pop(key, (None, None, 0))
        if holder is not None:
            held = self._held[holder]
            del held.keys[key]
            held.size -= size
            self._size -= size
            if not held.keys:
                del self._held[holder]

    def clear(self) -> None:
        """Forget every value."""
        self._values.clear()
        self._held.clear()
        self._size = 0

    def _oldest(self) -> bytes:
        return next(iter(self._values))

    def _of(self, key: bytes) -> _Held:
        return self._held[self._values[key][1]]


def bytes_of(principal: Principal) -> int:
    """Return the bytes that a principal takes in memory."""
    size = getsizeof(principal.id) + getsizeof(principal.issuer)
    for name, values in principal.attributes.items():
        size += getsizeof(name) + getsizeof(values) + sum(map(getsizeof, values))
    return size
