"""How much memory bodies may take while they come in: a client can take its time with each of very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from server.json_input.queue import QueueFull

SHARES: Final = 4
"""A caller may take one of so many parts of the room, so that it takes several to fill it."""


class MemoryLimit:
    """Bytes of memory, `size` for everybody together."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._most = size // SHARES
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def share(self, caller: Hashable) -> Iterator[Callable[[int], None]]:
        """A function that takes so many more bytes until the context ends; it raises NoRoom."""
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
