"""The places of ingestion: no caller with long files, or with many, makes another one wait until they are done."""

from __future__ import annotations

import asyncio
from secrets import token_hex

import pytest

from policy.vocabulary import Principal
from server.api.vector_stores import file_places
from server.api.vector_stores.file_places import AT_ONCE, LONG_AT_ONCE, LONG_SECONDS, Places
from server.api.vector_stores.links import NewLink, Status
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN, MODEST = (Principal(name, "https://a.example") for name in ("ann", "modest"))


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def stands() -> None:
    """Work that goes on until it is cancelled."""
    await asyncio.get_running_loop().create_future()


def leaving(places: Places) -> list[str]:
    return [owner[0] for owner, place in places._places.items() if owner is not None and place.is_leaving]


def test_the_file_that_takes_long_since_the_shortest_time_makes_room() -> None:
    async def worked() -> None:
        clock = Clock()
        places = Places(clock)
        for number in range(AT_ONCE):
            assert not places.are_taken
            clock.now = number / 100
            place = places.take((f"c{number}", "i"), has_waited=number in (0, AT_ONCE - 1))
            place.task = asyncio.create_task(stands())
        assert places.are_taken
        assert places.take_long_ones
        clock.now = LONG_SECONDS
        assert places.next_long == pytest.approx(0.01)
        places.make_room()
        assert leaving(places) == []
        clock.now = LONG_SECONDS + (LONG_AT_ONCE - 2) / 100
        assert not places.take_long_ones
        places.make_room()
        assert leaving(places) == []
        clock.now = LONG_SECONDS + 1
        places.make_room()
        places.make_room()  # one at a time
        assert leaving(places) == [f"c{AT_ONCE - 2}"]
        await asyncio.sleep(0)
        left = places._places[f"c{AT_ONCE - 2}", "i"]
        assert left.task is not None
        assert left.task.cancelled()
        places.leave(left)
        assert not places.are_taken
        for place in places._places.values():
            assert place.task is not None
            place.task.cancel()

    asyncio.run(worked())


def test_files_that_take_long_wait_until_few_enough_do() -> None:
    places = Places(Clock())
    for number in range(LONG_AT_ONCE):
        assert places.take_long_ones
        places.take((str(number), "i"), has_waited=True)
    assert not places.take_long_ones
    assert places.next_long == float("inf")


@pytest.mark.parametrize("callers", [2, AT_ONCE + 1])
def test_a_short_file_does_not_wait_for_the_long_ones_of_others(
    vectors: InWorld, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    monkeypatch.setattr(file_places, "LONG_SECONDS", 0.1)

    async def work(world: VectorWorld) -> None:
        shared = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        world.model.hold(b"long")
        long = []
        for number in range(callers):
            caller = Principal(f"caller-{number}", "https://a.example")
            store = await world.records.new_store(f"vs_{token_hex(8)}", ANN) if number % 2 else shared
            long.append(await world.attach(store, caller, await world.upload(caller, b"a long text")))
        await world.model.arrived.wait()
        for _ in range(3):
            assert (await world.put(shared, MODEST, "one line")).status is Status.COMPLETED
        assert {(await world.records.stores.refreshed(link)).status for link in long} == {Status.IN_PROGRESS}
        world.model.gone_on.set()
        assert {(await world.ended(link)).status for link in long} == {Status.COMPLETED}
        await world.purged(shared)
        assert len(await world.find(shared, MODEST, "one line", limit=50)) == 3

    vectors(work)


def test_a_file_does_not_wait_for_the_many_of_another_caller(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        records = world.records
        store = await records.new_store(f"vs_{token_hex(8)}", ANN)
        drafts = [NewLink(f"file-{number}", {}).draft(store).owned_by(ANN) for number in range(1000)]
        steps = [
            step
            for link in drafts
            for step in (records.stores.links.inserting(link), *records.queue.entering(store, link))
        ]
        await records.stores.links.database.write(*steps)
        assert (await world.put(store, MODEST, "one line")).status is Status.COMPLETED
        counts = (await records.stores.sums([store.id]))[store.id].counts
        # Those of the other caller are missing, so that each takes a moment; in their order, all of them would be over.
        assert counts[Status.IN_PROGRESS] > 500
        await records.removals.remove(store, *records.queue.dropping(store))

    vectors(work)
