"""Limit of the memory of bodies that are coming in, since a client may send very many slowly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from server.json_input.queue import QueueFull

SHARES: Final = 4
"""The limit divided by the part that one caller may take, so that one caller alone cannot fill it."""


class MemoryLimit:
    """A limit of `size` bytes for all callers together."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._most = size // SHARES
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def share(self, caller: Hashable) -> Iterator[Callable[[int], None]]:
        """Provide a function that takes more bytes until the context ends; it raises QueueFull."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if size > self._free or size > self._most - self._held[caller]:
                raise QueueFull
            self._free -= size
            self._held[caller] += size
            held += size

        try:
            yield hold
        finally:
            if held:
                self._free += held
                self._held[caller] -= held
                if not self._held[caller]:
                    del self._held[caller]
