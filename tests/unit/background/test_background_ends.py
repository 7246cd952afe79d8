"""Work in threads comes to its end, and what a cancelled caller doesn't get is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident

import pytest

from server.background.ends import in_thread_to_its_end, to_its_end
from tests.support.cancelled_steps import When, cancelled_at


class Work:
    """Work of a thread that goes on until it is told to end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = Event()
        self.ended = False
        self.undone: list[tuple[str, bool]] = []
        self._loop = asyncio.get_running_loop()
        self._loop_thread = get_ident()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.may_end.wait(30)
        self.ended = True
        return "made"

    def undo(self, made: str) -> None:
        """Note what is undone, and whether in a thread of its own."""
        self.undone.append((made, get_ident() != self._loop_thread))


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_caller_waits_for_its_thread_and_undoes_what_it_made(times: int) -> None:
    async def run() -> None:
        work = Work()
        task = asyncio.create_task(in_thread_to_its_end(work, undo=work.undo))
        await work.began.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
        work.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.ended
        assert work.undone == [("made", True)]

    asyncio.run(run())


def test_a_caller_that_is_cancelled_when_the_result_is_there_undoes_it() -> None:
    async def run() -> None:
        undone: list[int] = []
        assert await cancelled_at(0, When.OVER, in_thread_to_its_end(lambda: 7, undo=undone.append))
        assert undone == [7]

    asyncio.run(run())


def test_work_that_waits_for_a_thread_is_still_done() -> None:
    """What closes a file has to be done, also where its threads have other work first."""

    async def run() -> None:
        with ThreadPoolExecutor(1) as threads:
            first, closed = Work(), list[bool]()
            busy = asyncio.create_task(in_thread_to_its_end(first, threads=threads))
            await first.began.wait()
            closing = asyncio.create_task(in_thread_to_its_end(lambda: closed.append(True), threads=threads))
            await asyncio.sleep(0)
            closing.cancel()
            first.may_end.set()
            assert await busy == "made"
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert closed == [True]

    asyncio.run(run())


def fails(_: object = None) -> None:
    raise OSError("no room")


@pytest.mark.parametrize("when", [When.WAITS, When.OVER, When.TWICE])
def test_a_caller_is_cancelled_also_where_nothing_can_be_undone(when: When, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        assert await cancelled_at(0, when, in_thread_to_its_end(lambda: 7, undo=fails))

    asyncio.run(run())
    assert "was not undone: OSError" in caplog.text


def test_nothing_is_undone_where_nothing_was_made() -> None:
    async def run() -> None:
        undone: list[None] = []
        with pytest.raises(OSError, match="no room"):
            await in_thread_to_its_end(fails, undo=undone.append)
        task = asyncio.create_task(in_thread_to_its_end(fails, undo=undone.append))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert undone == []
        assert await in_thread_to_its_end(lambda: 7, undo=lambda _: undone.append(None)) == 7
        assert undone == []

    asyncio.run(run())


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", [None, ValueError])
def test_no_cancellation_ends_work_that_comes_to_its_end(times: int, fault: Callable[[], Exception] | None) -> None:
    async def run() -> None:
        may_end, ended = asyncio.Event(), list[bool]()

        async def work() -> str:
            await may_end.wait()
            ended.append(True)
            if fault is not None:
                raise fault()
            return "done"

        task = asyncio.create_task(to_its_end(work()))
        for _ in range(times):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]
        if fault is None:
            assert await to_its_end(work()) == "done"

    asyncio.run(run())
