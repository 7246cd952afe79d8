"""Removal of records with many parts: gone at once, in small steps, by one process, and whatever ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.fairness.caller import CURRENT
from server.quota.storage_limit import Stored
from server.storage.database.counting import ITEMS
from server.storage.database.database import Database, Overtaken, ParentGone, Row, Step, Value
from server.storage.database.migrate import bring_up_to_date
from server.storage.records import removal
from server.storage.records.record import Draft, Record
from server.storage.records.removal import Removals
from server.storage.records.table import RecordTable
from server.storage.records.usage import kept_by
from tests.support.databases import Make, opened

ANN = Principal("ann", "https://a.example", {"teams": ("x", "y")})
BEN = Principal("ben", "https://a.example", {})


@dataclass
class Watched:
    """A database that notes how many items, and how many bytes of them, each transaction removes."""

    database: Database
    removed: list[tuple[int, int]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    async def read(self, statement: str, *values: Value) -> list[Row]:
        """As the database does."""
        return await self.database.read(statement, *values)

    async def write(self, *steps: Step) -> None:
        """As the database does."""
        before = await self._size()
        await self.database.write(*steps)
        after = await self._size()
        if before != after:
            self.removed.append((before[0] - after[0], before[1] - after[1]))

    async def _size(self) -> tuple[int, int]:
        [(count, size)] = await self.database.read("SELECT count(*), coalesce(sum(length(body)), 0) FROM items")
        return count, size


@dataclass
class World:
    """A whole with its items, and who removes it."""

    database: Watched
    wholes: RecordTable
    items: RecordTable
    removals: Removals

    async def made(self, count: int, body: dict[str, Any], identity: str = "w") -> Record:
        """A whole of Ann's with so many items, every other one of them Ben's."""
        whole = Draft(identity, {}).owned_by(ANN)
        drafts = [Draft(f"{identity}{n}", body, identity) for n in range(count)]
        adding = [self.items.inserting(draft.owned_by((ANN, BEN)[n % 2])) for n, draft in enumerate(drafts)]
        await self.database.database.write(self.wholes.inserting(whole), *adding)
        return whole

    async def is_empty(self) -> bool:
        """Whether nothing is left, and nothing is counted."""
        database = self.database.database
        counts = [await database.read(f"SELECT 1 FROM {table}") for table in ("wholes", "items", "ostiary_usage")]  # noqa: S608 - the test's own
        return counts == [[], [], []]

    async def until_empty(self) -> None:
        """Return once nothing is left."""
        async with asyncio.timeout(60):
            while not await self.is_empty():  # noqa: ASYNC110 - the background announces nothing
                await asyncio.sleep(0.05)


def with_world(make: Make, work: Callable[[World], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "wholes")
            await bring_up_to_date(database, "items", "wholes", ITEMS)
            await work(world(Watched(database)))

    asyncio.run(worked())


def world(database: Watched) -> World:
    wholes, items = RecordTable(database, "wholes"), RecordTable(database, "items")
    return World(database, wholes, items, Removals(wholes, items))


@pytest.fixture
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FEW_PARTS": 5, "FIRST_STEP": 2, "LARGEST_STEP": 8, "STEP_BYTES": 30_000}.items():
        monkeypatch.setattr(removal, name, value)


def test_few_parts_go_with_their_record_in_one_transaction(make: Make) -> None:
    async def work(world: World) -> None:
        whole = await world.made(removal.FEW_PARTS, {"a": 1})
        await world.removals.remove(whole)
        assert await world.is_empty()
        assert len(world.database.removed) == 1
        with pytest.raises(Overtaken):
            await world.removals.remove(whole)

    with_world(make, work)


@pytest.mark.usefixtures("_small_steps")
def test_many_parts_go_in_steps_and_the_record_is_not_found_meanwhile(make: Make) -> None:
    async def work(world: World) -> None:
        whole = await world.made(100, {"a": 1})
        async with world.removals.running():
            await world.removals.remove(whole)
            assert await world.wholes.find("w") is None
            assert await world.wholes.find_all(["w"]) == []
            with pytest.raises(ParentGone):
                await world.database.write(world.removals.holding("w"))
            with pytest.raises(Overtaken):
                await world.removals.remove(whole)
            await world.until_empty()
        assert max(count for count, _ in world.database.removed) <= removal.LARGEST_STEP
        assert len(world.database.removed) >= 100 / removal.LARGEST_STEP

    with_world(make, work)


@pytest.mark.usefixtures("_small_steps")
def test_large_parts_go_by_their_sizes_wherever_they_are(make: Make) -> None:
    async def work(world: World) -> None:
        whole = await world.made(40, {"a": 1})
        large = [Draft(f"l{n}", {"text": "x" * 12_000}, "w").owned_by(BEN) for n in range(9)]
        huge = Draft("huge", {"text": "x" * 90_000}, "w").owned_by(BEN)
        await world.database.database.write(*map(world.items.inserting, [*large, huge]))
        async with world.removals.running():
            await world.removals.remove(whole)
            await world.until_empty()
        sizes = sorted(size for _, size in world.database.removed)
        assert sizes[-1] < 91_000
        assert sizes[-2] <= removal.STEP_BYTES

    with_world(make, work)


@pytest.mark.usefixtures("_small_steps")
def test_what_a_process_leaves_another_one_removes_once_the_mark_is_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(mine: World) -> None:
        # It does not run, as if it had been killed after the first transaction.
        await mine.removals.remove(await mine.made(50, {"a": 1}))
        async with opened(make) as other:
            theirs = [world(Watched(each)) for each in (mine.database.database, other)]
            await asyncio.gather(*(each.removals.sweep() for each in theirs))
            assert await kept_by(other, BEN) == Stored(25, 25 * len('{"a":1}')), "the mark is not over"
            later = time.time() + removal.CLAIM_SECONDS + 1
            monkeypatch.setattr(time, "time", lambda: later)
            await asyncio.gather(*(each.removals.sweep() for each in theirs))
            assert await mine.is_empty()
            assert sorted(bool(each.database.removed) for each in theirs) == [False, True], "one alone removes it"

    with_world(make, work)


@pytest.mark.usefixtures("_small_steps")
def test_no_caller_waits_for_the_removals_of_another_one(make: Make) -> None:
    async def work(world: World) -> None:
        for n in range(5):
            await world.made(200, {"a": 1}, f"greedy{n}-")
        await world.made(20, {"a": 1}, "modest-")
        async with world.removals.running():
            for caller, names in (("greedy", [f"greedy{n}-" for n in range(5)]), ("modest", ["modest-"])):
                CURRENT.set((caller,))
                for name in names:
                    found = await world.wholes.find(name)
                    assert found is not None
                    await world.removals.remove(found.record)
            async with asyncio.timeout(60):
                while await world.database.read("SELECT 1 FROM items WHERE parent = 'modest-'"):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
            [(left,)] = await world.database.read("SELECT count(*) FROM items")
            assert left > 500, "the greedy caller's removals came first"

    with_world(make, work)


@pytest.mark.usefixtures("_small_steps")
def test_a_caller_has_few_removals_under_way_and_a_sweep_takes_up_the_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "MOST_EACH", 2)
    monkeypatch.setattr(removal, "CLAIM_SECONDS", 1)
    monkeypatch.setattr(removal, "SWEEP_SECONDS", 0.5)

    async def work(world: World) -> None:
        wholes = [await world.made(30, {"a": 1}, f"w{n}-") for n in range(5)]
        async with world.removals.running():
            for whole in wholes:
                await world.removals.remove(whole)
            await world.until_empty()

    with_world(make, work)
