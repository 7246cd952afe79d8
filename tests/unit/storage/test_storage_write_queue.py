"""Writing in the background: what is tried again, and what is certainly written in the end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from server.storage import write_queue
from server.storage.database.database import AlreadyThere, DatabaseUnavailable
from server.storage.write_queue import WriteQueue, until_written
from tests.support.written_texts import Written, with_queue


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long things take."""
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(write_queue, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(write_queue, "_LONGEST_PAUSE", 0.002)


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
