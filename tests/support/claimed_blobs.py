"""Records with blobs, and the claims that keep the blobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from server.api.files.blob_leases import BlobLeases
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.database.database import Database, Step
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable


@dataclass(frozen=True, slots=True)
class World:
    """Files, their claims and their bytes."""

    database: Database
    files: RecordTable
    claims: BlobLeases
    blobs: DirectoryBlobs
    folder: Path

    async def claimed(self) -> list[str]:
        """The ids of all claims."""
        rows = await self.database.read(f'SELECT id FROM "{self.files.name}_c" ORDER BY id')  # noqa: S608 - the test's own
        return [row[0] for row in rows]

    def on_disk(self) -> list[str]:
        """The names of all blobs, whole or not."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def inserting(world: World, name: str, lifetime: int | None = None) -> Step:
    """Has a file of that id."""
    return world.files.inserting(Draft(name, {}, lifetime=lifetime).owned_by(None))


Scenario = Callable[[World], Awaitable[None]]


def key() -> str:
    return f"file-{token_hex(24)}"
