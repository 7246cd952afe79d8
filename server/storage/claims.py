"""Blobs without a record: those that are being written, and those whose record is gone.

A claim is written down before its blob, and goes in the same transaction as the record comes (or comes as the record
goes). So whatever happens in between, no blob is forgotten: who finds a claim whose time is over removes the blob.
"""

from __future__ import annotations

import time
from typing import Final

from server.storage.blobs import BlobsUnavailable
from server.storage.database import Writing
from server.storage.records import Draft, Records

LEASE_SECONDS: Final = 300
"""How long a claim holds unless it is renewed."""

_WRITING: Final = "writing:"
_UNWANTED: Final = "unwanted:"


class ClaimLost(BlobsUnavailable):
    """Whoever wrote the blob was not heard of for so long that others may have removed it."""


class Claims:
    """The claims of one table of files, in a table of their own beside it."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def begin(self, key: str) -> None:
        """The blob is going to be written."""
        async with self._records.database.writing() as transaction:
            await self._insert(transaction, _WRITING + key)

    async def renew(self, key: str) -> None:
        """It is still being written; raises ClaimLost."""
        async with self._records.database.writing() as transaction:
            await self.settle(transaction, key)
            await self._insert(transaction, _WRITING + key)

    async def settle(self, transaction: Writing, key: str) -> None:
        """It is written, and its record comes with `transaction`; raises ClaimLost."""
        if not await self._records.remove(transaction, _WRITING + key):
            raise ClaimLost("an upload stood still for longer than its claim lasts")

    async def condemn(self, transaction: Writing, key: str, *, at_once: bool = False) -> None:
        """Its record goes with `transaction`, and the caller removes the blob then; `at_once` leaves that to others."""
        await self._insert(transaction, _UNWANTED + key, 0 if at_once else None)

    async def forget(self, key: str) -> None:
        """The blob is gone."""
        async with self._records.database.writing() as transaction:
            await self._records.remove(transaction, _WRITING + key)
            await self._records.remove(transaction, _UNWANTED + key)

    async def take_over(self, most: int) -> list[str]:
        """Keys of up to `most` blobs that nobody holds any more, each given to one caller: they are to be removed.

        Those that are not forgotten within the time of a claim are given again.
        """
        taken, now = [], int(time.time())
        for identity in await self._records.expired(now, most):
            key = identity.partition(":")[2]
            async with self._records.database.writing() as transaction:
                if await self._records.remove_expired(transaction, identity, now):
                    await self._insert(transaction, _UNWANTED + key)
                    taken.append(key)
        return taken

    async def _insert(self, transaction: Writing, identity: str, lifetime: int | None = None) -> None:
        draft = Draft(identity, {}, lifetime=LEASE_SECONDS if lifetime is None else lifetime)
        await self._records.insert(transaction, draft, None)
