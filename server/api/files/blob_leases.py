"""Blobs without a record: those that are being written, and those whose record is gone.

A claim is written down before its blob, and goes in the same transaction as the record comes (or comes as the record
goes). So whatever happens in between, no blob is forgotten: who finds a claim whose time is over removes the blob.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from server.storage.blobs.store import BlobsUnavailable
from server.storage.database.database import Overtaken, Step
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable

LEASE_SECONDS: Final = 300
"""How long a claim holds unless it is renewed."""

_WRITING: Final = "writing:"
_UNWANTED: Final = "unwanted:"


class LeaseLost(BlobsUnavailable):
    """Whoever wrote the blob was not heard of for so long that others may have removed it."""


class BlobLeases:
    """The claims of one table of files, in a table of their own beside it."""

    def __init__(self, records: RecordTable) -> None:
        self._records = records

    async def begin(self, key: str) -> None:
        """The blob is going to be written."""
        await self._records.database.write(self._claiming(_WRITING + key))

    async def renew(self, key: str) -> None:
        """It is still being written; raises ClaimLost."""
        await self._records.database.write(self.settling(key), self._claiming(_WRITING + key))

    def settling(self, key: str) -> Step:
        """It is written, and its record comes in the same transaction; raises ClaimLost."""
        lost = LeaseLost("an upload stood still for longer than its claim lasts")
        return self._records.removing(_WRITING + key, otherwise=lost)

    def condemning(self, key: str, *, at_once: bool = False) -> Step:
        """Its record goes in the same transaction, and the caller removes the blob then; `at_once` leaves that to
        others.
        """
        return self._claiming(_UNWANTED + key, 0 if at_once else None)

    async def forget(self, key: str) -> None:
        """The blob is gone."""
        await self._records.database.write(*(self._records.removing(kind + key) for kind in (_WRITING, _UNWANTED)))

    async def take_over(self, most: int) -> list[str]:
        """Keys of up to `most` blobs that nobody holds any more, each given to one caller: they are to be removed.

        Those that are not forgotten within the time of a claim are given again.
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
