"""Records that go by several names: how these are kept with a record, so that rules about any of them find it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

NAME_END: Final = "\x1f"
"""What stands around each name in a facet, and in no name."""


@dataclass(frozen=True, slots=True)
class RecordNames:
    """The records of a table go by the names in their facets, the first of which is the id.

    `table` has a row for each name: its id is the name, its parent the record. While one of its names is in `taken`, a
    record is not served, and is like one that isn't there.
    """

    table: str
    taken: Container[str]

    def of(self, facet: str) -> tuple[str, ...]:
        """The names of a record that has this facet; none if it is not served."""
        names = tuple(facet[1:-1].split(NAME_END))
        return () if any(name in self.taken for name in names) else names


def facet_of(names: Iterable[str]) -> str:
    """The facet that says so; raises ValueError for what is no name."""
    parts = [*names]
    if any(NAME_END in part for part in parts):
        raise ValueError("a name holds what separates names")
    return f"{NAME_END}{NAME_END.join(parts)}{NAME_END}"
