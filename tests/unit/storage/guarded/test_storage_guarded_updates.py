"""Updates in the guarded store: they keep what is not theirs, and come one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from server.fairness.outgoing import UNCOUNTED, OutgoingAnswers
from server.storage.records import guarded
from server.storage.records.body_columns import INLINE
from server.storage.records.guarded import Contended
from server.storage.records.record import Record
from tests.support.guarded_things import BEN, Work, World


def test_an_update_keeps_everything_that_is_not_its_own(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        made = await world.add("a", text="old")

        def change(record: Record) -> Record:
            return replace(record, body={"text": "new"}, owner=BEN, created_at=1, id="b", parent="c", version=99)

        changed = await world.things.update(world.gate(), "a", change)
        assert changed == replace(made, body={"text": "new"}, version=2) == await world.things.get(world.gate(), "a")

    run(work)


def test_updates_at_the_same_time_are_one_after_the_other(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a", count="0")

        def counted(record: Record) -> Record:
            return replace(record, body={"count": str(int(record.body["count"]) + 1)})

        updates = [world.things.update(world.gate(), "a", counted) for _ in range(6)]
        done = [each for each in await asyncio.gather(*updates, return_exceptions=True) if isinstance(each, Record)]
        kept = await world.things.get(world.gate(), "a")
        assert (kept.version, kept.body) == (1 + len(done), {"count": str(len(done))})
        assert done

    run(work)


def test_the_body_of_a_later_record_with_the_same_id_is_not_shown(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a", text="x" * INLINE)
        [judged] = (await world.things.readable(world.gate(), ["a"])).values()
        await world.things.delete(world.gate(), "a")
        await world.add("a", BEN, text="y" * INLINE)
        assert await world.things.whole([judged]) == []

    run(work)


def test_who_is_always_overtaken_is_told_so(run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        size = (await world.add("a", text="x" * UNCOUNTED)).body.size
        tries = 0

        def overtaken(record: Record) -> Record:
            nonlocal tries
            tries += 1
            # Somebody else's change comes between the reading and the writing, every time.
            stale = replace(record, version=record.version - 1)
            object.__setattr__(record, "version", stale.version)
            return record

        outgoing = OutgoingAnswers()
        with pytest.raises(Contended), outgoing.answer():
            try:
                await world.things.update(world.gate(), "a", overtaken)
            finally:
                assert outgoing.shares.used == size  # however often it is read
        assert tries == guarded._TRIES

    run(work)
