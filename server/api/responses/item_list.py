"""Items in an order, each with its id: as they are kept together, and as they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from json import JSONEncoder, loads
from typing import Final

from server.api.conversations.stored_items import shown_item

_encode: Final = JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ItemList:
    """Items in their stored forms, each with the id under which it is known."""

    ids: Sequence[str] = ()
    texts: Sequence[bytes] = ()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def __add__(self, other: ItemList) -> ItemList:
        """Return these items, and behind them the others."""
        return ItemList([*self.ids, *other.ids], [*self.texts, *other.texts])

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, bytes]]) -> ItemList:
        """Return the items of pairs of an id and a stored form."""
        return cls([identity for identity, _ in pairs], [text for _, text in pairs])

    @property
    def size(self) -> int:
        """The bytes of all items."""
        return sum(map(len, self.texts))

    @property
    def pairs(self) -> list[tuple[str, bytes]]:
        """Each item as its id and its stored form."""
        return [*zip(self.ids, self.texts, strict=True)]

    def encoded(self) -> bytes:
        """Return all in one text of JSON: `[ids,sizes,items]`. It is cut by the sizes, and not parsed."""
        ids, sizes = _encode([*self.ids]), _encode([*map(len, self.texts)])
        return b"[%b,%b,[%b]]" % (ids.encode(), sizes.encode(), b",".join(self.texts))

    @classmethod
    def decoded(cls, text: bytes) -> ItemList:
        """Return the items of such a text; ids hold no bracket."""
        ids_end = text.index(b"]") + 1
        sizes_end = text.index(b"]", ids_end) + 1
        ids, sizes = loads(text[1:ids_end]), loads(text[ids_end + 1 : sizes_end])
        first = sizes_end + len(",[")
        starts = accumulate((size + 1 for size in sizes), initial=first)
        return cls(ids, [text[start : start + size] for start, size in zip(starts, sizes, strict=False)])

    def plain(self) -> Iterator[memoryview]:
        """Yield each item as JSON, with all that it holds and without its id."""
        for text in self.texts:
            yield memoryview(text)[text.index(b"{") : -1]

    def shown(self, included: frozenset[str], places: Sequence[int] | None = None) -> Iterator[bytes]:
        """Yield items as they are shown: those at `places`, or all."""
        for place in range(len(self)) if places is None else places:
            yield shown_item(self.ids[place], self.texts[place], included)
