"""Places in the queue of writes: callers share them, and all that is under way is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.storage import write_queue
from server.storage.database.database import DatabaseUnavailable
from server.storage.write_queue import BEGUN_BYTES, BEGUN_BYTES_EACH, LEAST_BYTES, WriteQueue
from tests.support.patience import PATIENCE
from tests.support.written_texts import Written, with_queue


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long things take."""
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(write_queue, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(write_queue, "_LONGEST_PAUSE", 0.002)


def test_a_full_queue_has_no_place_until_there_is_room() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        first, second = await queue.reserve(), await queue.reserve()
        done = first.fill(written.write("x"), 1)
        second.fill(written.write("y"), 1)
        with pytest.raises(DatabaseUnavailable, match="more waits to be written"):
            await queue.reserve()
        waiting = asyncio.create_task(queue.reserve())
        await asyncio.sleep(0)
        written.go_on.set()
        await done
        (await waiting).leave()

    with_queue(use, most=2)


def test_work_that_is_under_way_takes_no_room_and_loses_no_write_when_it_ends() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        places = [await queue.reserve() for _ in range(50)]
        done = [place.fill(written.write(str(number)), 1) for number, place in enumerate(places)]
        with pytest.raises(DatabaseUnavailable):
            await queue.reserve()
        assert queue.waiting() == 50
        written.go_on.set()
        await asyncio.gather(*done)
        assert written.texts == [str(number) for number in range(50)]
        (await queue.reserve()).leave()

    with_queue(use, most=2)


@asynccontextmanager
async def calling(name: str) -> AsyncIterator[None]:
    """The caller of what runs in the context."""
    token = CURRENT.set(("principal", "issuer", name))
    try:
        yield
    finally:
        CURRENT.reset(token)


def test_what_one_caller_has_under_way_leaves_others_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "BEGUN_BYTES", 16 * LEAST_BYTES)
    monkeypatch.setattr(write_queue, "BEGUN_BYTES_EACH", 4 * LEAST_BYTES)

    async def use(queue: WriteQueue) -> None:
        async with calling("greedy"):
            places = [await queue.reserve() for _ in range(2)]
            places.append(await queue.reserve(LEAST_BYTES))
            with pytest.raises(NoRoom) as refused:
                await queue.reserve()
            assert refused.value.of_caller
        async with calling("modest"):
            (await queue.reserve()).leave()
        for place in places:
            place.leave()
            place.leave()
        async with calling("greedy"):
            (await queue.reserve()).leave()

    with_queue(use)


def test_what_one_caller_has_waiting_delays_no_other_caller() -> None:
    async def use(queue: WriteQueue) -> None:
        slow, quick = Written(), Written()
        slow.go_on.clear()
        async with calling("greedy"):
            places = [await queue.reserve() for _ in range(20)]
            done = [place.fill(slow.write("greedy"), 1) for place in places]
            with pytest.raises(DatabaseUnavailable):
                await queue.reserve()
        async with calling("modest"), asyncio.timeout(PATIENCE):
            await (await queue.reserve()).fill(quick.write("modest"), 1)
        assert (slow.texts, quick.texts) == ([], ["modest"])
        slow.go_on.set()
        await asyncio.gather(*done)
        assert slow.texts == ["greedy"] * 20

    with_queue(use, most=8, writers=2)


def test_writes_of_callers_are_made_in_turns() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        async with calling("greedy"):
            places = [await queue.reserve() for _ in range(50)]
            done = [place.fill(written.write("greedy"), 1) for place in places]
        await asyncio.sleep(0)
        async with calling("modest"):
            done.append((await queue.reserve()).fill(written.write("modest"), 1))
        await asyncio.sleep(0)
        written.go_on.set()
        await asyncio.gather(*done)
        assert written.texts.index("modest") <= 2

    with_queue(use, most=1000, writers=1)


def test_all_that_is_under_way_is_bounded() -> None:
    assert BEGUN_BYTES // LEAST_BYTES == 16384
    assert BEGUN_BYTES_EACH // LEAST_BYTES == 1024


def test_a_place_that_is_filled_is_not_given_back_by_leaving_it() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        place = await queue.reserve()
        place.fill(written.write("x"), 1)
        place.leave()
        with pytest.raises(DatabaseUnavailable):
            await queue.reserve()
        with pytest.raises(ValueError, match="one write"):
            place.fill(written.write("y"), 1)
        written.go_on.set()

    with_queue(use, most=1)


def test_too_many_bytes_leave_no_place_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "MOST_BYTES", 100)

    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        done = (await queue.reserve()).fill(written.write("large"), 101)
        with pytest.raises(DatabaseUnavailable):
            await queue.reserve()
        written.go_on.set()
        await done
        (await queue.reserve()).leave()

    with_queue(use)


@pytest.mark.parametrize("fault", [DatabaseUnavailable("the disk is full"), NoRoom("writes", of_caller=True)])
def test_a_write_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture, fault: Exception) -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written(*[fault] * 5)
        await (await queue.reserve()).fill(written.write("x"), 1)
        assert written.texts == ["x"]

    with_queue(use)
    assert caplog.text.count(f"waits for its database: {fault}") == 5
    assert "lost" not in caplog.text


def test_a_cancelled_reservation_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "BEGUN_BYTES", 4 * LEAST_BYTES)
    monkeypatch.setattr(write_queue, "BEGUN_BYTES_EACH", LEAST_BYTES)

    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        done = (await queue.reserve()).fill(written.write("x"), 1)
        for _ in range(3):
            waiting = asyncio.create_task(queue.reserve())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        written.go_on.set()
        await done
        (await queue.reserve()).leave()

    with_queue(use, most=1)
