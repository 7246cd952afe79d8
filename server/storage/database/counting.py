"""The ways in which the rows of a table count towards what their owners keep (migration 3 has the triggers)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Counting:
    """A way to count rows and the bytes of their bodies.

    Without `counted` neither counts. The rows of `parts` count with the owner that their facets name, and only their
    bytes. With `blobs`, the member `bytes` of a body counts too. With `by_parent`, the rows of each parent are counted
    as well.
    """

    counted: bool = True
    parts: bool = False
    blobs: bool = False
    by_parent: bool = False

    @property
    def conditions(self) -> dict[str, str]:
        """The placeholders of a migration, and a condition for each."""
        chosen = {
            "{is_counted}": self.counted,
            "{is_part}": self.parts,
            "{has_blobs}": self.blobs,
            "{by_parent}": self.by_parent,
        }
        return {name: "1 = 1" if holds else "1 = 0" for name, holds in chosen.items()}


RECORDS: Final = Counting()
FILES: Final = Counting(blobs=True)
ITEMS: Final = Counting(by_parent=True)
LINKS: Final = Counting(blobs=True, by_parent=True)
PARTS: Final = Counting(parts=True)
UNCOUNTED: Final = Counting(counted=False)
