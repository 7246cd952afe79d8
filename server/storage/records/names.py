"""Names of records that have several, stored with each record so that rules about any of them apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

NAME_END: Final = "\x1f"
"""The separator around each name in a facet; no name contains it."""


@dataclass(frozen=True, slots=True)
class RecordNames:
    """The names of a table's records, stored in their facets; the first one is the id.

    `table` has a row for each name: its id is the name, its parent the record. While its names `are_taken`, a record
    is not served, as if it didn't exist.
    """

    table: str
    are_taken: Callable[[Sequence[str]], bool]

    def of(self, facet: str) -> tuple[str, ...]:
        """Return the names in a record's facet; none if the record is not served."""
        names = tuple(facet[1:-1].split(NAME_END))
        return () if self.are_taken(names) else names


def facet_of(names: Iterable[str]) -> str:
    """Return the facet for these names; raise ValueError for an invalid name."""
    parts = [*names]
    if any(NAME_END in part for part in parts):
        raise ValueError("a name holds what separates names")
    return f"{NAME_END}{NAME_END.join(parts)}{NAME_END}"
