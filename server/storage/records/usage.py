"""Counts of what owners keep and of the parts of records; triggers keep them in the transaction of each change."""

from __future__ import annotations

from typing import Final

from policy.vocabulary import Principal
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import Database, Step

_USED: Final = "SELECT records, bytes FROM ostiary_usage WHERE key = ?1"
_WITHIN: Final = "SELECT 1 FROM ostiary_usage WHERE key = ?1 AND records <= ?2 AND bytes <= ?3"
_FEWER: Final = "SELECT 1 FROM ostiary_usage WHERE key = ?1 AND records <= ?2"
_UNLIMITED: Final = 2**62


class OverLimit(Exception):
    """Raised if a transaction would leave an owner with more than it may keep; nothing was changed."""


class TooManyParts(Exception):
    """Raised if a transaction would leave a record with more than `most` parts; nothing was changed."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


def owner_key(owner: Principal | None) -> str:
    """Return the name under which an owner's records count; all records without an owner count together."""
    return "" if owner is None else f"{len(owner.issuer)}:{owner.issuer}{owner.id}"


async def kept_by(database: Database, owner: Principal | None) -> Stored:
    """Return what the owner keeps in that database."""
    rows = await database.read(_USED, counted_with(owner))
    return Stored(*rows[0]) if rows else Stored()


def staying_within(limit: StorageLimit, owner: Principal | None) -> Step:
    """Return the step that ends a transaction in which the owner keeps more; it raises OverLimit.

    The triggers have locked the owner's count by then, so that no other transaction changes it before this one ends.
    """
    records, size = (_UNLIMITED if most is None else most for most in (limit.records, limit.bytes))
    return Step(_WITHIN, (counted_with(owner), records, size), OverLimit())


def having_at_most(most: int, table: str, parent: str) -> Step:
    """Return the step that ends a transaction which has added rows of that parent to `table`; it raises TooManyParts.

    The table is one whose rows are counted by parent.
    """
    return Step(_FEWER, (f"parts:{table}/{parent}", most), TooManyParts(most))


def counted_with(owner: Principal | None) -> str:
    """Return the key of the owner's count."""
    return f"owner:{owner_key(owner)}"
