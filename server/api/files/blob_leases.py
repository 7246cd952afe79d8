"""Blobs without a record: those that are being written, and those whose record is gone.

A lease is written before its blob, and goes in the same transaction as the record comes (or comes as the record goes).
So no blob is forgotten, whatever happens in between: a sweeper that finds a lease whose time is over removes the blob.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from server.storage.blobs.store import BlobsUnavailable
from server.storage.database.database import Database, Overtaken, Step
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable

LEASE_SECONDS: Final = 300
"""Seconds that a lease holds unless it is renewed."""

_WRITING: Final = "writing:"
_UNWANTED: Final = "unwanted:"


class LeaseLost(BlobsUnavailable):
    """The lease was not renewed in time, so that another process may have removed the blob."""


class BlobLeases:
    """The leases of the blobs of one table of files, in a table of their own beside it."""

    def __init__(self, records: RecordTable) -> None:
        self._records = records

    @property
    def database(self) -> Database:
        """The database, which is that of the files."""
        return self._records.database

    async def begin(self, key: str) -> None:
        """Take the lease of a blob that is about to be written."""
        await self._records.database.write(self._claiming(_WRITING + key))

    async def renew(self, key: str) -> None:
        """Renew the lease of a blob that is still being written; raises LeaseLost."""
        await self._records.database.write(self.settling(key), self._claiming(_WRITING + key))

    def settling(self, key: str) -> Step:
        """Return the step that ends the lease of a written blob as its record is made; it raises LeaseLost."""
        lost = LeaseLost("an upload stood still for longer than its claim lasts")
        return self._records.removing(_WRITING + key, otherwise=lost)

    def condemning(self, key: str, *, at_once: bool = False) -> Step:
        """Return the step that marks a blob for removal as its record goes.

        The caller removes the blob then; with `at_once`, a sweeper does.
        """
        return self._claiming(_UNWANTED + key, 0 if at_once else None)

    async def forget(self, key: str) -> None:
        """Drop the lease of a blob that has been removed."""
        await self._records.database.write(*(self._records.removing(kind + key) for kind in (_WRITING, _UNWANTED)))

    async def take_over(self, most: int) -> list[str]:
        """Return the keys of up to `most` blobs whose lease is over, each to one caller, which removes the blob.

        A key that is not forgotten within the time of a lease is returned again.
        """
        taken, now = [], int(time.time())
        for identity in await self._records.expired(now, most):
            key = identity.partition(":")[2]
            removing = self._records.removing_expired(identity, now)
            with suppress(Overtaken):
                await self._records.database.write(removing, self._claiming(_UNWANTED + key))
                taken.append(key)
        return taken

    def _claiming(self, identity: str, lifetime: int | None = None) -> Step:
        draft = Draft(identity, {}, lifetime=LEASE_SECONDS if lifetime is None else lifetime)
        return self._records.inserting(draft.owned_by(None))
