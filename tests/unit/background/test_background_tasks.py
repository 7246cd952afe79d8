"""Background tasks: named, referenced until they end, cancelled and awaited at the end, their faults logged."""

from __future__ import annotations

import asyncio
import gc

import pytest

from server.background.tasks import BackgroundTasks, in_background

SECRET = "secret-canary"


async def fail() -> None:
    raise ValueError(SECRET)


def test_work_runs_under_its_name_and_is_awaited_at_the_end() -> None:
    names: list[str] = []
    ended: list[int] = []

    async def work(number: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    async def run() -> None:
        async with in_background("a name", work(1), work(2)):
            await asyncio.sleep(0)
            assert not ended

    asyncio.run(run())
    assert names == ["a name", "a name"]
    assert ended == [1, 2]


def test_a_fault_is_logged_without_its_message_and_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def run() -> None:
        async def wait() -> None:
            await asyncio.sleep(0.01)
            done.set()

        async with in_background("sweep", fail(), wait()):
            await done.wait()

    asyncio.run(run())
    [record] = caplog.records
    assert "the background task `sweep` failed: ValueError" in record.getMessage()
    assert "in fail" in record.getMessage()
    assert SECRET not in caplog.text


def test_an_error_of_the_block_is_raised_once_the_work_has_ended() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    async def run() -> None:
        async with in_background("work", work()):
            await asyncio.sleep(0)
            raise KeyError(SECRET)

    with pytest.raises(KeyError):
        asyncio.run(run())
    assert ended


def test_tasks_are_referenced_until_they_end_and_no_longer() -> None:
    async def run() -> None:
        tasks, ended = BackgroundTasks(), []

        async def work(*, again: bool) -> None:
            # Nothing but this object refers to what the task waits for.
            await asyncio.sleep(0.01)
            if again:
                tasks.start("second", work(again=False))
            ended.append(again)

        assert not tasks
        tasks.start("first", work(again=True))
        gc.collect()
        assert tasks
        await tasks.finish()
        assert ended == [True, False]
        assert not tasks

    asyncio.run(run())


def test_a_cancelled_task_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        tasks = BackgroundTasks()
        tasks.start("work", asyncio.sleep(60))
        await asyncio.sleep(0)
        await tasks.cancel()
        assert not tasks

    asyncio.run(run())
    assert not caplog.records


@pytest.mark.parametrize(("seconds", "in_time"), [(10.0, True), (0.01, False)])
def test_tasks_end_by_themselves_in_time_or_are_cancelled(seconds: float, in_time: bool) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0.05 if in_time else 60)
            ended.append("by itself")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def run() -> None:
        tasks = BackgroundTasks()
        tasks.start("a name", work())
        await asyncio.sleep(0)
        assert await tasks.end_within(seconds) is in_time
        assert not tasks

    asyncio.run(run())
    assert ended == ["by itself" if in_time else "cancelled"]
