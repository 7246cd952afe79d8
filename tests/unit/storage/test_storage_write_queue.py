"""Writing in the background: who waits, what is tried again, and what is certainly written in the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from server.storage import write_queue
from server.storage.database.database import AlreadyThere, DatabaseUnavailable
from server.storage.write_queue import WriteQueue, until_written

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


@pytest.mark.parametrize("given_back", ["written", "left", "left twice"])
def test_a_full_queue_has_no_place_until_there_is_one(given_back: str) -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written()
        written.go_on.clear()
        first, second = await queue.reserve(), await queue.reserve()
        done = first.fill(written.write("first"), 1)
        with pytest.raises(DatabaseUnavailable, match="more waits to be written"):
            await queue.reserve()
        waiting = asyncio.create_task(queue.reserve())
        if given_back == "written":
            written.go_on.set()
            await done
        else:
            second.leave()
        if given_back == "left twice":
            second.leave()
        await waiting
        if given_back == "left twice":
            with pytest.raises(DatabaseUnavailable):
                await queue.reserve()
        written.go_on.set()

    with_queue(use, most=2)


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


def test_a_write_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def use(queue: WriteQueue) -> None:
        written = Written(*[DatabaseUnavailable("the disk is full")] * 5)
        await (await queue.reserve()).fill(written.write("x"), 1)
        assert written.texts == ["x"]

    with_queue(use)
    assert caplog.text.count("waits for its database: the disk is full") == 5
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


def test_nobody_waits_long_for_what_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_cancelled_reservation_keeps_no_place() -> None:
    async def use(queue: WriteQueue) -> None:
        place = await queue.reserve()
        waiting = asyncio.create_task(queue.reserve())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        place.leave()
        (await queue.reserve()).leave()

    with_queue(use, most=1)
