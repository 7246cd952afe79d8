"""Records, drafts of records, and pages: the values that tables of records take and return."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from policy.vocabulary import Origin, Principal
from server.storage.records.body import Body

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    `created_at` and `expires_at` are in seconds since 1970; `ordering` sorts by age, those of one second too. `parent`
    is the id of the record that it belongs to, and `facet` what lists of its kind can be narrowed by (the purpose of a
    file). `version` counts its changes.
    """

    id: str
    parent: str | None
    ordering: int
    created_at: int
    owner: Principal | None
    origin: Origin
    facet: str
    expires_at: int | None
    version: int
    body: Body


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it is created: everything but its owner, which only a decision determines, and its age.

    `lifetime` is its lifetime in seconds; None is unlimited.
    """

    id: str
    body: Mapping[str, Any]
    parent: str | None = None
    facet: str = ""
    lifetime: int | None = None

    def owned_by(self, owner: Principal | None) -> Record:
        """Return the new record with that owner."""
        ordering = next_ordering()
        created_at = ordering // 1_000_000
        return Record(
            self.id,
            self.parent,
            ordering,
            created_at,
            owner,
            Origin.CREATED,
            self.facet,
            None if self.lifetime is None else created_at + self.lifetime,
            1,
            Body.of(self.body),
        )


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list, whether or not its record is shown or still there."""

    ordering: int
    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """The requested part of a list: at most `limit` records after `after` or before `before`, newest or oldest first.

    They have that parent and that facet, and their bodies' `metadata` has the members of `matching`.
    """

    limit: int
    after: Record | Position | None = None
    before: Record | Position | None = None
    newest_first: bool = True
    parent: str | None = None
    facet: str | None = None
    matching: tuple[tuple[str, str], ...] = ()

    @property
    def is_backwards(self) -> bool:
        """True if the page ends before the record `before`."""
        return self.before is not None and self.after is None


_last_ordering = 0


def next_ordering() -> int:
    """Return microseconds since 1970, greater than every earlier value of this process."""
    global _last_ordering
    _last_ordering = max(_last_ordering + 1, time.time_ns() // 1000)
    return _last_ordering
