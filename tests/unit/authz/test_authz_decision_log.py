"""The decision log: one whole line for every decision, or no decision."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from server.authz.decision_log.log import DecisionLog
from tests.support.patience import PATIENCE


async def until(condition: Callable[[], bool]) -> None:
    """Return when the log's thread has made `condition` true."""
    while not condition():  # noqa: ASYNC110 - a thread has no way to set the event
        await asyncio.sleep(0.001)


def test_lines_reach_the_file_in_order_and_only_its_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "var" / "log" / "decisions.jsonl"

    async def main() -> None:
        log = DecisionLog.to_file(path)
        for number in range(0, 5000, 2):
            await log.write([str(number), str(number + 1)])
        await log.flush()
        assert log.lines_waiting == 0
        assert path.read_text().splitlines() == [str(number) for number in range(5000)]
        await log.write(["last"])
        await log.close()
        await log.close()

    asyncio.run(main())
    assert path.read_text().splitlines()[-1] == "last"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_lines_are_written_without_anybody_waiting_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        for number in range(3):
            await log.write([str(number)])
            await until(lambda: not log.lines_waiting)
        assert (tmp_path / "log").read_text() == "0\n1\n2\n"
        await log.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_writing_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, go_on = threading.Event(), threading.Event()
    write = os.write

    def slow(descriptor: int, data: memoryview) -> int:
        writing.set()
        assert go_on.wait(PATIENCE)
        return write(descriptor, data)

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", slow)
        await log.write(["first"])
        await until(writing.is_set)
        await log.write(["second"])
        assert log.lines_waiting == 2
        go_on.set()
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


def test_standard_output_is_a_sink_and_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        log = DecisionLog.to_stdout()
        await log.write(["a line"])
        await log.close()

    asyncio.run(main())
    os.write(1, b"still open\n")
    assert capfd.readouterr().out == "a line\nstill open\n"
