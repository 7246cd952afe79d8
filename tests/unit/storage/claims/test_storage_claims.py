"""Claims, which keep blobs from being forgotten, on both databases: who holds one, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from server.api.files import blob_leases as claims_module
from server.api.files.blob_leases import LeaseLost
from server.api.files.store import FileStore
from server.storage.blobs.store import BlobMissing
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft
from tests.support.claimed_blobs import Scenario, World, inserting, key


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


@pytest.mark.parametrize("kept", [b"short", b"longer than it was"])
def test_a_file_of_another_length_than_was_kept_is_missing_and_left_closed(
    run: Callable[[Scenario], None], kept: bytes
) -> None:
    def opened(name: str) -> list[str]:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [path for path in map(str, map(Path.readlink, links)) if name in path]

    async def scenario(world: World) -> None:
        store, name = FileStore(GuardedStore(world.files, "sql_record::x"), world.claims, world.blobs), key()
        writing = await world.blobs.begin(name)
        await writing.write(kept)
        await writing.finish()
        record = Draft(name, {"bytes": 10}).owned_by(None)
        with pytest.raises(BlobMissing):
            await store.open(record)
        assert opened(name) == []
        reading = await store.open(Draft(name, {"bytes": len(kept)}).owned_by(None))
        assert (await reading.read(), len(opened(name))) == (kept, 1)
        await reading.close()

    run(scenario)
