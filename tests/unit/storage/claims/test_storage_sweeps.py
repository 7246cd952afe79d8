"""Sweeps of claims whose time is over: everything is removed once, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from server.api.files import blob_leases as claims_module
from server.api.files import sweeper as janitor_module
from server.api.files.store import FileStore, new_file_id
from server.api.files.sweeper import FileSweeper
from server.authz.permit import Permit
from server.storage.blobs.store import Blobs, BlobsUnavailable
from server.storage.records.guarded import Creation, GuardedStore
from tests.support.claimed_blobs import Scenario, World, inserting, key
from tests.support.patience import PATIENCE

LEAVE = Creation(cast(Permit, None), None)
"""For uploads that are not kept: nothing asks whose they would be."""


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
        async with janitor.running(), asyncio.timeout(PATIENCE):
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
