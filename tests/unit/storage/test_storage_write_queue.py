"""Writing in the background: who waits, what is tried again, and what is certainly written in the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.storage import write_queue
from server.storage.database.database import AlreadyThere, DatabaseUnavailable
from server.storage.write_queue import BEGUN_BYTES, BEGUN_BYTES_EACH, LEAST_BYTES, WriteQueue, until_written

Use = Callable[[WriteQueue], Awaitable[None]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long things take."""
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(write_queue, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(write_queue, "_LONGEST_PAUSE", 0.002)


class Written:
    """What was written; each write fails as often as there are `faults`."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.texts: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    def write(self, text: str) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            await self.go_on.wait()
            if self.faults:
                raise self.faults.pop(0)
            self.texts.append(text)

        return write


def with_queue(use: Use, most: int = 10, writers: int = 1) -> None:
    async def used() -> None:
        queue = WriteQueue(most, writers)
        async with queue.running():
            await use(queue)

    asyncio.run(used())


def test_what_is_put_is_written_in_its_order() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        last = [(await queue.reserve()).fill(written.write(str(number)), 1) for number in range(5)][-1]
        await last
        assert written.texts == ["0", "1", "2", "3", "4"]
        assert queue.waiting() == 0

    with_queue(use)


def test_the_end_waits_for_what_is_waiting() -> None:
    written: list[Written] = []

    async def use(queue: WriteQueue) -> None:
        written.append(Written(DatabaseUnavailable("away")))
        for number in range(8):
            (await queue.reserve()).fill(written[0].write(str(number)), 1)

    with_queue(use, writers=3)
    assert sorted(written[0].texts) == list("01234567")


def test_a_server_that_ends_waits_for_a_dead_database_only_so_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(write_queue, "FLUSH_SECONDS", 0.05)

    async def use(queue: WriteQueue) -> None:
        (await queue.reserve()).fill(Written(*[DatabaseUnavailable("away")] * 10_000).write("x"), 1)

    with_queue(use)
    assert "are lost" in caplog.text


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
        async with calling("modest"), asyncio.timeout(1):
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


def test_a_write_is_not_tried_forever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(write_queue, "RETRY_SECONDS", 0.01)

    async def use(queue: WriteQueue) -> None:
        written = Written(*[DatabaseUnavailable("away")] * 100_000)
        await (await queue.reserve()).fill(written.write("x"), 1)
        assert written.texts == []

    with_queue(use)
    assert "is lost, since its database was away for too long" in caplog.text


@pytest.mark.parametrize(
    ("faults", "lost"),
    [
        ([AlreadyThere()], True),
        ([DatabaseUnavailable("cut off"), AlreadyThere()], False),
        ([ValueError("prompt-canary")], True),
    ],
    ids=["taken", "written before the connection was lost", "a bug"],
)
def test_a_write_that_can_not_be_made_ends_nothing_else(
    faults: list[Exception], lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written(*faults)
        await (await queue.reserve()).fill(written.write("x"), 1)
        await (await queue.reserve()).fill(written.write("y"), 1)
        assert written.texts == ["y"]

    with_queue(use)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [("can't be written" in message) for message in errors] == ([True] if lost else [])
    assert "canary" not in caplog.text


def test_no_request_waits_long_for_what_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "WAIT_SECONDS", 0.01)

    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        done = (await queue.reserve()).fill(written.write("x"), 1)
        await until_written(done)
        assert not done.done()
        written.go_on.set()
        await done
        assert written.texts == ["x"]

    with_queue(use)


def test_who_stops_waiting_stops_nothing() -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        done = (await queue.reserve()).fill(written.write("x"), 1)
        waiting = asyncio.create_task(until_written(done))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        written.go_on.set()
        await done
        assert written.texts == ["x"]

    with_queue(use)


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
