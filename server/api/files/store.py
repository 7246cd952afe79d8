"""Files: a record that says what a file is, and a blob with its bytes, which come and go together."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from secrets import token_hex
from typing import Any, Final

from server.api.files.blob_leases import LEASE_SECONDS, BlobLeases
from server.api.files.deletions import FileDeletions
from server.authz.request_authorization import Gate
from server.background.ends import to_its_end
from server.fairness.shares import FairShares, NoRoom, Share, Turn
from server.quota.storage_limit import StorageExceeded, Stored
from server.storage.blobs.store import PIECE, BlobMissing, BlobReading, Blobs, BlobsUnavailable, BlobWriting
from server.storage.database.database import DatabaseUnavailable, Overtaken, Step
from server.storage.records.guarded import Creation, GuardedStore
from server.storage.records.record import Draft, Record

UPLOADS: Final = Share(
    "bytes of uploads", 1024 * 1024 * 1024, 128 * 1024 * 1024, waiting=1024, waiting_each=64, seconds=60.0
)
"""Bytes that uploads may have in memory while they come in, however slowly: 409 large ones of one caller on a disk, and
7 in a bucket. One that waits isn't read, but for what its connection has read ahead."""

READ_AHEAD: Final = 64 * 1024
"""Bytes of an upload that its connection holds beside the piece that gathers."""

RENEWAL_SECONDS: Final = LEASE_SECONDS / 5
"""Seconds after which an upload renews its lease when more bytes come."""


_ID: Final = re.compile("file-[0-9a-f]{48}")


def new_file_id() -> str:
    """Return an id that no other file has, and that cannot be guessed."""
    return f"file-{token_hex(24)}"


def is_file_id(text: str) -> bool:
    """Return whether a text has the form of our ids; those of OpenAI are shorter."""
    return _ID.fullmatch(text) is not None


class FileStore:
    """`records` are the files as callers see them. Besides what they name, the methods raise what `records` raises.

    `deletions` are told of files that go.
    """

    def __init__(
        self, records: GuardedStore, claims: BlobLeases, blobs: Blobs, deletions: FileDeletions | None = None
    ) -> None:
        self.records = records
        self._claims = claims
        self._blobs = blobs
        self._deletions = deletions
        self._room = FairShares(UPLOADS)

    def room(self, length: int) -> AbstractAsyncContextManager[Turn]:
        """Hold the memory of an upload of at most `length` bytes for as long as the context lasts; raises NoRoom."""
        return self._room.turn(min(length, PIECE + READ_AHEAD + self._blobs.gathered))

    @asynccontextmanager
    async def uploading(self, identity: str, creation: Creation) -> AsyncIterator[Upload]:
        """Yield a new file, of which nothing is left behind unless it is kept before the context ends."""
        upload = Upload(identity, creation, self.records, self._claims, self._blobs)
        try:
            yield upload
        finally:
            await to_its_end(upload.discard())

    async def open(self, record: Record) -> BlobReading:
        """Return the bytes of a file whose record the caller was given; raises BlobMissing and BlobsUnavailable."""
        reading = await self._blobs.open(record.id)
        if reading.size != record.body["bytes"]:
            await reading.close()
            raise BlobMissing(f"`{record.id}` has {reading.size} bytes where {record.body['bytes']} were kept")
        return reading

    async def delete(self, gate: Gate, identity: str) -> None:
        """Remove the file; raises NotFound, and AccessDenied where it may be read."""
        deletions, database = self._deletions, self._claims.database
        noting = () if deletions is None else deletions.beside(identity, database)
        record = await self.records.delete(
            gate, identity, beside=lambda _: [self._claims.condemning(identity), *noting]
        )
        if deletions is not None:
            await deletions.after(identity, database)
        # The file is gone with its record; where the bytes can't go with it now, a sweeper removes them.
        with suppress(BlobsUnavailable, DatabaseUnavailable, NoRoom):
            await self._blobs.delete(record.id)
            await self._claims.forget(record.id)


class Upload:
    """A file whose bytes are coming in; `size` says how many have."""

    def __init__(
        self, identity: str, creation: Creation, records: GuardedStore, claims: BlobLeases, blobs: Blobs
    ) -> None:
        self.size = 0
        self._id = identity
        self._creation = creation
        self._records = records
        self._claims = claims
        self._blobs = blobs
        self._writing: BlobWriting | None = None
        self._waiting = bytearray()
        self._ours = False
        self._finishing = False
        self._held_since = 0.0

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable, and StorageExceeded once there is no room for the file."""
        self.size += len(piece)
        self._waiting += piece
        if len(self._waiting) >= PIECE:
            await self._flush()

    async def check_room(self, size: int) -> None:
        """Raise StorageExceeded if the caller has no room for a file of so many bytes."""
        await self._records.check_room(self._creation, Stored(1, size))

    async def keep(
        self, described: Mapping[str, Any], facet: str, lifetime: int | None, beside: Sequence[Step] = ()
    ) -> Record:
        """Store the file's record once every byte is on the disk, and return it: `described`, with the number of bytes.

        It is made in one transaction with the steps `beside`. Raises BlobsUnavailable and StorageExceeded, and what the
        steps raise.
        """
        await self._flush()
        if self._writing is None:
            raise ValueError("a file without bytes is not kept")
        self._finishing = True
        await self._writing.finish()
        self._finishing = False
        await self._hold()
        # A database that fails now may still have written the record: only the lease tells, to a sweeper.
        self._ours = False
        draft = Draft(self._id, {"bytes": self.size, **described}, facet=facet, lifetime=lifetime)
        try:
            steps = [self._claims.settling(self._id), *beside]
            return await self._records.create(self._creation, draft, steps)
        except (StorageExceeded, NoRoom, Overtaken):
            self._ours = True
            raise

    async def discard(self) -> None:
        """Forget the file, unless it is kept; a sweeper removes what can't be removed now."""
        if not self._ours:
            return
        with suppress(BlobsUnavailable, DatabaseUnavailable, NoRoom):
            if self._writing is not None:
                await self._writing.abandon()
            await self._blobs.delete(self._id)
            # A bucket may still be finishing what it was told to: then a sweeper looks once more.
            if not self._finishing:
                await self._claims.forget(self._id)

    async def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writing is None:
            self._writing = await self._begun()
        await self._hold()
        await self.check_room(self.size)
        piece, self._waiting = bytes(self._waiting), bytearray()
        await self._writing.write(piece)

    async def _begun(self) -> BlobWriting:
        self._ours = True
        self._held_since = time.monotonic()
        await self._claims.begin(self._id)
        return await self._blobs.begin(self._id)

    async def _hold(self) -> None:
        """Renew the claim now and then."""
        if time.monotonic() - self._held_since > RENEWAL_SECONDS:
            await self._claims.renew(self._id)
            self._held_since = time.monotonic()
