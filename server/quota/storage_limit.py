"""The limit of what one owner may keep, and the refusal of more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """The amount that an owner keeps: a number of records, and the bytes of their bodies and files."""

    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class StorageLimit:
    """The most that one owner may keep; None is no limit, and at least one of the two is one.

    The places are those of the two numbers in the configuration, for the decision log.
    """

    records: int | None
    bytes: int | None
    records_place: str
    bytes_place: str

    def exceeded_by(self, used: Stored, more: Stored) -> StorageExceeded | None:
        """Return the refusal of `more` beside what is `used` already; None if there is room for it."""
        if self.records is not None and used.records + more.records > self.records:
            return StorageExceeded(self, used, of_bytes=False)
        if self.bytes is not None and used.bytes + more.bytes > self.bytes:
            return StorageExceeded(self, used, of_bytes=True)
        return None


class StorageExceeded(Exception):
    """The owner would keep more than it may, of bytes if `of_bytes`, else of records; nothing was changed.

    `most` is the limit at `place`, and `used` what the owner keeps without the refused change. The message is a
    sentence for the caller.
    """

    def __init__(self, limit: StorageLimit, used: Stored, *, of_bytes: bool) -> None:
        kind, most = ("bytes", limit.bytes) if of_bytes else ("records", limit.records)
        self.place = limit.bytes_place if of_bytes else limit.records_place
        self.most = most or 0
        self.used = used.bytes if of_bytes else used.records
        name = self.place.rpartition(".")[2]
        super().__init__(
            f"you keep {self.used} of the {self.most} {kind} that you may keep (`{name}`), and this needs more; "
            "delete something to make room"
        )
