"""What keeps blobs from being forgotten: claims, on both databases, with several janitors at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

import pytest

from server.api.files import blob_leases as claims_module
from server.api.files import sweeper as janitor_module
from server.api.files.blob_leases import BlobLeases, LeaseLost
from server.api.files.store import FileStore, new_file_id
from server.api.files.sweeper import FileSweeper
from server.authz.permit import Permit
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.store import BlobMissing, Blobs, BlobsUnavailable
from server.storage.database.database import Database, Step
from server.storage.database.migrate import bring_up_to_date
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.guarded import Creation, GuardedStore
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


LEAVE = Creation(cast(Permit, None), None)
"""For uploads that are not kept: nothing asks whose they would be."""

Scenario = Callable[[World], Awaitable[None]]


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


def key() -> str:
    return f"file-{token_hex(24)}"


@pytest.fixture
def _over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "LEASE_SECONDS", 0)


def test_no_process_takes_a_claim_whose_time_is_not_over(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        name = key()
        await world.claims.begin(name)
        assert await world.claims.take_over(10) == []
        await world.claims.renew(name)
        assert await world.claims.take_over(10) == []
        assert await world.claimed() == [f"writing:{name}"]

    run(scenario)


def test_each_claim_is_given_to_one_alone(run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        names = [key() for _ in range(20)]
        with monkeypatch.context() as patch:
            patch.setattr(claims_module, "LEASE_SECONDS", 0)
            for name in names:
                await world.claims.begin(name)
        taken = await asyncio.gather(*(world.claims.take_over(100) for _ in range(5)))
        assert sorted(name for some in taken for name in some) == sorted(names)

    run(scenario)


@pytest.mark.usefixtures("_over_at_once")
def test_who_lost_a_claim_can_neither_renew_nor_settle_it(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        name = key()
        await world.claims.begin(name)
        assert await world.claims.take_over(10) == [name]
        with pytest.raises(LeaseLost):
            await world.claims.renew(name)
        with pytest.raises(LeaseLost):
            await world.database.write(inserting(world, name), world.claims.settling(name))
        assert await world.files.find(name) is None
        assert await world.claims.take_over(10) == [name], "it is given again until it is forgotten"
        await world.claims.forget(name)
        assert await world.claimed() == []

    run(scenario)


def test_a_settled_claim_is_gone_with_the_transaction_that_makes_the_record(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        name = key()
        await world.claims.begin(name)
        await world.database.write(inserting(world, name), world.claims.settling(name))
        assert await world.claimed() == []
        assert await world.files.find(name) is not None

    run(scenario)


def test_several_janitors_remove_everything_once_and_nothing_else(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        over, lasting = [key() for _ in range(130)], [key() for _ in range(3)]
        for name in (*over, *lasting):
            writing = await world.blobs.begin(name)
            await writing.write(b"x")
            await writing.finish()
        await world.database.write(
            *(inserting(world, name, 0) for name in over), *(inserting(world, name, 3600) for name in lasting)
        )
        janitors = [FileSweeper(world.files, world.claims, world.blobs) for _ in range(3)]
        gone = await asyncio.gather(*(janitor.sweep() for janitor in janitors))
        gone.append(await janitors[0].sweep())
        assert sum(gone) == len(over)
        assert world.on_disk() == sorted(lasting)
        assert await world.claimed() == []

    run(scenario)


def test_one_sweep_removes_all_that_is_over(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        over, unwanted = [key() for _ in range(230)], [key() for _ in range(230)]
        await world.database.write(
            *(inserting(world, name, 0) for name in over),
            *(world.claims.condemning(name, at_once=True) for name in unwanted),
        )
        assert await FileSweeper(world.files, world.claims, world.blobs).sweep() == 460
        assert await world.files.find_all(over) == []
        assert await world.claimed() == []

    run(scenario)


class _Looking:
    """Blobs that keep what is claimed when one begins."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.claimed: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.blobs, name)

    async def begin(self, name: str) -> Any:
        self.claimed.append(await self._world.claimed())
        return await self._world.blobs.begin(name)


def test_a_blob_is_claimed_before_it_is_there(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        looking, name = _Looking(world), key()
        store = FileStore(GuardedStore(world.files, "sql_record::x"), world.claims, cast(Blobs, looking))
        async with store.uploading(name, LEAVE) as incoming:
            await incoming.write(b"x" * 300_000)
            assert looking.claimed == [[f"writing:{name}"]]

    run(scenario)


class _Refusing:
    """Blobs that refuse to be removed at first."""

    def __init__(self, blobs: Blobs, times: int) -> None:
        self._blobs = blobs
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def delete(self, name: str) -> None:
        if self.times:
            self.times -= 1
            raise BlobsUnavailable("the disk is away")
        await self._blobs.delete(name)


def test_what_could_not_be_removed_stays_claimed_and_is_removed_by_a_later_sweep(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(claims_module, "LEASE_SECONDS", 0)

    async def scenario(world: World) -> None:
        name, refusing = key(), _Refusing(world.blobs, 2)
        writing = await world.blobs.begin(name)
        await writing.write(b"x")
        await writing.finish()
        await world.database.write(inserting(world, name, 0))
        janitor = FileSweeper(world.files, world.claims, cast(Blobs, refusing))
        with pytest.raises(BlobsUnavailable):
            await janitor.sweep()
        assert (await world.claimed(), world.on_disk()) == ([f"unwanted:{name}"], [name])
        async with janitor.running(), asyncio.timeout(10):
            while world.on_disk() or await world.claimed():  # noqa: ASYNC110 - nothing tells when a sweep has ended
                await asyncio.sleep(0.01)
        assert refusing.times == 0

    run(scenario)


@pytest.mark.parametrize("pieces", [1, 3])
def test_an_upload_that_is_cut_off_anywhere_leaves_nothing(run: Callable[[Scenario], None], pieces: int) -> None:
    async def scenario(world: World) -> None:
        store = FileStore(GuardedStore(world.files, "sql_record::x"), world.claims, world.blobs)

        async def upload(started: asyncio.Event) -> None:
            async with store.uploading(new_file_id(), LEAVE) as incoming:
                for _ in range(pieces):
                    await incoming.write(b"x" * 300_000)
                started.set()
                await asyncio.Event().wait()

        started = asyncio.Event()
        task: asyncio.Task[Any] = asyncio.create_task(upload(started))
        await started.wait()
        assert len(world.on_disk()) == len(await world.claimed()) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (world.on_disk(), await world.claimed()) == ([], [])
        for steps in range(12):
            task = asyncio.create_task(upload(asyncio.Event()))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await FileSweeper(world.files, world.claims, world.blobs).sweep()
        assert world.on_disk() == []

    run(scenario)


@pytest.mark.parametrize("kept", [b"short", b"longer than it was"])
def test_a_file_of_another_length_than_was_kept_is_missing_and_left_closed(
    run: Callable[[Scenario], None], kept: bytes
) -> None:
    def opened() -> list[str]:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [name for name in map(str, map(Path.readlink, links)) if "/blobs/" in name]

    async def scenario(world: World) -> None:
        store, name = FileStore(GuardedStore(world.files, "sql_record::x"), world.claims, world.blobs), key()
        writing = await world.blobs.begin(name)
        await writing.write(kept)
        await writing.finish()
        record = Draft(name, {"bytes": 10}).owned_by(None)
        with pytest.raises(BlobMissing):
            await store.open(record)
        assert opened() == []
        reading = await store.open(Draft(name, {"bytes": len(kept)}).owned_by(None))
        assert (await reading.read(), len(opened())) == (kept, 1)
        await reading.close()

    run(scenario)
