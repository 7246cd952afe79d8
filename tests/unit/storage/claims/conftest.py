"""A table of records whose blobs are claimed, in a database of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from server.api.files import blob_leases as claims_module
from server.api.files.blob_leases import BlobLeases
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.database.database import Database
from server.storage.database.migrate import bring_up_to_date
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.table import RecordTable
from tests.support.claimed_blobs import Scenario, World


@pytest.fixture(params=["sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario in a world of its own."""

    def make() -> Database:
        if request.param == "sqlite":
            return SqliteDatabase(tmp_path / "records.db")
        return PostgresDatabase(request.getfixturevalue("postgres_url"))

    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        database, name = make(), f"f{token_hex(6)}"
        await database.start()
        for table in (name, f"{name}_c"):
            await bring_up_to_date(database, table)
        blobs = DirectoryBlobs(tmp_path / "blobs")
        try:
            claims = BlobLeases(RecordTable(database, f"{name}_c"))
            yield World(database, RecordTable(database, name), claims, blobs, tmp_path / "blobs")
        finally:
            await blobs.close()
            await database.close()

    async def whole(scenario: Scenario) -> None:
        async with world() as made:
            await scenario(made)

    return lambda scenario: asyncio.run(whole(scenario))


@pytest.fixture
def _over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "LEASE_SECONDS", 0)
