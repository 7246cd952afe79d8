"""A bounded memory that several holders share."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from server.fairness.caller import Caller

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """At most `most` values by key, each put in by a holder.

    When it is full, the oldest value is dropped: that of the holder that puts one in, if it has as many as the holder
    of the oldest of all. So a holder of many values drops none of a holder of few.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[bytes, tuple[_Value, Caller]] = OrderedDict()
        self._keys: dict[Caller, OrderedDict[bytes, None]] = {}

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
        self._keys[self._values[key][1]].move_to_end(key)

    def put(self, key: bytes, value: _Value, holder: Caller) -> None:
        """Set the value of `key` and make it the newest."""
        self.drop(key)
        self._values[key] = value, holder
        self._keys.setdefault(holder, OrderedDict())[key] = None
        if len(self._values) > self._most:
            self._make_room(holder)

    def drop(self, key: bytes) -> None:
        """Forget the value of `key`, if there is one."""
        _, holder = self._values.pop(key, (None, None))
        if holder is not None:
            keys = self._keys[holder]
            del keys[key]
            if not keys:
                del self._keys[holder]

    def clear(self) -> None:
        """Forget every value."""
        self._values.clear()
        self._keys.clear()

    def _make_room(self, holder: Caller) -> None:
        oldest = next(iter(self._values))
        own = self._keys[holder]
        if len(own) > len(self._keys[self._values[oldest][1]]):
            oldest = next(iter(own))
        self.drop(oldest)
