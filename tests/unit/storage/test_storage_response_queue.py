"""The queue of responses in the background: who has the work on one, and how long events are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.api.responses.background import queue as queue_module
from server.api.responses.background.queue import Lease, ResponseQueue
from server.fairness.shares import NoRoom
from server.storage.database.counting import UNCOUNTED
from server.storage.database.database import Overtaken
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.record import Draft
from server.storage.records.table import RecordTable
from server.storage.records.waiting import asker_of, owner_of, work_of
from tests.support.databases import Make, opened

ANN, BEN = (Principal(name, "https://a.example") for name in ("ann", "ben"))


class Queued:
    """A queue, and the responses that it is about."""

    def __init__(self, queue: ResponseQueue, responses: RecordTable) -> None:
        self.queue = queue
        self.responses = responses

    async def enter(
        self,
        name: str,
        caller: Principal | None = ANN,
        address: str = "",
        *,
        streamed: bool = False,
        stored: int = 0,
    ) -> None:
        number = 2 if streamed else None
        inserting = self.responses.inserting(Draft(name, {}).owned_by(caller))
        entering = self.queue.entering(name, caller, address, number=number, stored=stored)
        await self.responses.database.write(inserting, entering)

    async def taken(self, name: str) -> Lease:
        lease = await self.queue.find(name)
        assert lease is not None
        taken = await self.queue.take(lease.work)
        assert taken is not None
        return taken


def in_tables(make: Make, done: Callable[[Queued], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "answers", None)
            await bring_up_to_date(database, "answers_work", "answers", UNCOUNTED)
            responses = RecordTable(database, "answers")
            await done(Queued(ResponseQueue(RecordTable(database, "answers_work"), responses), responses))

    asyncio.run(worked())


def test_one_process_has_the_work_and_its_end_is_the_only_one(make: Make) -> None:
    async def done(at: Queued) -> None:
        await at.enter("a")
        work = await at.queue.rounds.next(None, ())
        assert work is not None
        first = await at.queue.take(work)
        assert first is not None
        assert (first.tries, first.response, await at.queue.take(work)) == (1, "a", None)
        # Nothing can be taken while the lease holds.
        assert await at.queue.rounds.next(None, ()) is None
        await at.queue.records.database.write(at.queue.pausing(first, 0))
        second = await at.taken("a")
        assert second.tries == 2
        for stale in ([at.queue.renewing(first)[0]], at.queue.ending(first)):
            with pytest.raises(Overtaken):
                await at.queue.records.database.write(*stale)
        await at.queue.records.database.write(*at.queue.ending(second))
        assert await at.queue.find("a") is None

    in_tables(make, done)


def test_what_is_known_of_it_goes_from_process_to_process(make: Make) -> None:
    async def done(at: Queued) -> None:
        await at.enter("a", streamed=True, stored=7)
        lease = await at.taken("a")
        told = replace(lease, has_begun=True, number=9, stored=100)
        step, renewed = at.queue.renewing(told)
        await at.queue.records.database.write(step)
        found = await at.queue.find("a")
        assert found is not None
        assert (found.has_begun, found.number, found.stored, found.tries) == (True, 9, 100, 1)
        assert found.work.version == renewed.work.version

    in_tables(make, done)


def test_events_are_kept_for_a_while_after_the_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def done(at: Queued) -> None:
        await at.enter("a", streamed=True)
        await at.queue.records.database.write(*at.queue.ending(await at.taken("a")))
        kept = await at.queue.find_events("a")
        assert kept is not None and kept.is_over
        assert (await at.queue.rounds.waiting(10), await at.queue.alive(["a"])) == (0, set())
        assert await at.queue.expired(10) == []
        monkeypatch.setattr(queue_module, "EVENTS_KEPT_SECONDS", -1)
        await at.enter("b", streamed=True)
        await at.queue.records.database.write(*at.queue.ending(await at.taken("b")))
        assert await at.queue.find_events("b") is None
        assert [lease.response for lease in await at.queue.expired(10)] == ["b"]

    in_tables(make, done)


@pytest.mark.parametrize(("name", "most"), [("MOST_KEPT_EACH", 2), ("MOST_KEPT_BYTES_EACH", 25)])
def test_the_oldest_events_of_a_caller_go_first(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    async def done(at: Queued) -> None:
        monkeypatch.setattr(queue_module, name, most)
        for each in ("a", "b", "c", "d"):
            caller = BEN if each == "b" else ANN
            await at.enter(each, caller, streamed=True, stored=10)
            lease = await at.taken(each)
            await at.queue.records.database.write(*at.queue.ending(lease))
            await at.queue.crowd_out(lease.work)
        assert [lease.response for lease in await at.queue.expired(10)] == ["a"]

    in_tables(make, done)


def test_few_wait_of_each_caller_and_in_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def done(at: Queued) -> None:
        monkeypatch.setattr(queue_module, "MOST_WAITING_EACH", 2)
        monkeypatch.setattr(queue_module, "MOST_WAITING", 3)
        for name in ("a", "b"):
            await at.queue.check_room(ANN, "")
            await at.enter(name)
        with pytest.raises(NoRoom) as own:
            await at.queue.check_room(ANN, "")
        await at.queue.check_room(BEN, "")
        await at.enter("c", BEN)
        with pytest.raises(NoRoom) as common:
            await at.queue.check_room(BEN, "")
        assert (own.value.of_caller, common.value.of_caller) == (True, False)

    in_tables(make, done)


def test_callers_without_a_token_wait_by_their_addresses(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def done(at: Queued) -> None:
        monkeypatch.setattr(queue_module, "MOST_WAITING_EACH", 2)
        for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.1"), ("c", "192.0.2.2"), ("d", "")):
            await at.enter(name, None, address)
        with pytest.raises(NoRoom):
            await at.queue.check_room(None, "192.0.2.1")
        await at.queue.check_room(None, "192.0.2.2")
        await at.queue.check_room(None, "")
        await at.queue.check_room(ANN, "192.0.2.1")
        seen, owner = list[tuple[str, Any]](), None
        for _ in range(4):
            work = await at.queue.rounds.next(owner, [])
            assert work is not None
            lease = await at.queue.take(work)
            assert lease is not None
            seen.append((lease.response, asker_of(lease.work)))
            owner = owner_of(work)
        first, second = (None, "192.0.2.1"), (None, "192.0.2.2")
        assert seen == [("a", first), ("c", second), ("d", (None, "")), ("b", first)]

    in_tables(make, done)


def test_a_name_makes_no_principal_an_address() -> None:
    _, owner = work_of(None, "192.0.2.1", {})
    work = Draft("w", {"tries": 0}).owned_by(owner)
    assert asker_of(work) == (owner, "")


def test_a_response_that_is_being_removed_is_not_alive(make: Make) -> None:
    async def done(at: Queued) -> None:
        for name in ("a", "b"):
            await at.enter(name)
        [found] = await at.responses.chosen("id = ?1", "a", limit=1)
        mark = at.responses.changing(found.record, {}, "", -int(time.time()))
        await at.responses.database.write(mark)
        assert await at.queue.alive(["a", "b", "c"]) == {"b"}

    in_tables(make, done)
