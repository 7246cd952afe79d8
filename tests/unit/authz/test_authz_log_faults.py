"""Faults of the decision log: a full journal, a disk that keeps nothing, a file that is gone, kill -9."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.decision_log import log as decision_log
from server.authz.decision_log.journal import HALF, Journal
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.sink import LogFile
from tests.support.patience import PATIENCE


async def until(condition: Callable[[], bool]) -> None:
    """Return when the log's thread has made `condition` true."""
    while not condition():  # noqa: ASYNC110 - a thread has no way to set the event
        await asyncio.sleep(0.001)


def test_a_full_journal_makes_the_next_decision_wait_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    write = os.write
    lines = [f"{number} {'x' * 100_000}" for number in range(60)]

    def blocked(descriptor: int, data: memoryview) -> int:
        assert go_on.wait(PATIENCE)
        return write(descriptor, data)

    async def main() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", blocked)
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 20)

        async def fill() -> None:
            for line in lines:
                await log.write([line])

        filling = asyncio.create_task(fill())
        done, _ = await asyncio.wait([filling], timeout=0.2)
        assert not done
        go_on.set()
        await filling
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text().splitlines() == lines


def test_a_disk_that_keeps_nothing_is_counted_and_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 0

    def failing(_descriptor: int) -> None:
        nonlocal failures
        failures += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        monkeypatch.setattr(decision_log, "SYNC_SECONDS", 0.01)
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "fsync", failing)
        for number in range(3):
            await log.write([str(number)])
            await log.flush()
            await until(lambda: failures > number)  # noqa: B023 - waited for in the same turn
        assert log.lines_waiting == 0
        assert log.write_failures == failures
        await log.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert (tmp_path / "log").read_text() == "0\n1\n2\n"
    assert "the disk did not keep the decision log: Input/output error" in caplog.text


def test_a_disk_that_stays_full_ends_decisions_and_one_that_recovers_gets_every_line_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = True
    write = os.write

    def partly(descriptor: int, data: memoryview) -> int:
        if full and len(data) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:3])

    async def main() -> None:
        nonlocal full
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 0.2)
        log = DecisionLog.to_file(tmp_path / "log")
        monkeypatch.setattr(os, "write", partly)
        accepted = []
        with pytest.raises(PolicyUnavailable) as caught:
            for number in range(10_000):
                await log.write([f"line {number}"])
                accepted.append(f"line {number}")
                await asyncio.sleep(0.001)
        assert caught.value.failure is Failure.DECISION_LOG
        assert log.write_failures >= 1
        await until(lambda: (tmp_path / "log").read_text() == "")  # half a line is taken back after each try
        with pytest.raises(PolicyUnavailable):
            await log.write(["refused at once now"])
        full = False
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 20)
        await log.write(["again"])
        await log.flush()
        assert (tmp_path / "log").read_text().splitlines() == [*accepted, "again"]
        await log.close()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        f"the decision log can't be written: {os.strerror(errno.ENOSPC)}",
        "the decision log is written again",
    ]


@pytest.mark.parametrize("harm", ["a closed descriptor", "a directory that is gone", "a read-only file system"])
def test_a_log_that_was_taken_away_comes_back_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    path = tmp_path / "var" / "log"
    write, broken = os.write, harm == "a read-only file system"

    def read_only(descriptor: int, data: memoryview) -> int:
        if broken:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return write(descriptor, data)

    async def main() -> None:
        nonlocal broken
        file = LogFile(path)
        log = DecisionLog(file, Journal.in_memory())
        await log.write(["first"])
        if harm == "a closed descriptor":
            await log.flush()
            assert file._descriptor is not None
            os.close(file._descriptor)
        elif harm == "a directory that is gone":
            await log.flush()
            path.unlink()
            path.parent.rmdir()
        else:
            monkeypatch.setattr(os, "write", read_only)
            await until(lambda: log.write_failures > 0)
            broken = False
        await log.write(["second"])
        await log.flush()
        await log.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    wanted = "second\n" if harm == "a directory that is gone" else "first\nsecond\n"
    assert path.read_text() == wanted


def test_what_a_dead_sink_did_not_take_is_written_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def die() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", dead)
            patch.setattr(decision_log, "PATIENCE_SECONDS", 0.2)
            for number in range(3):
                await log.write([f'{{"line":{number}}}'])
            await log.close()
            with pytest.raises(PolicyUnavailable):
                await log.write(["too late"])

    async def live() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        assert (tmp_path / "log").read_text() == '{"line":0}\n{"line":1}\n{"line":2}\n'
        await log.close()

    asyncio.run(die())
    assert caplog.records[-1].getMessage() == "3 lines of the decision log are left for the next start to write"
    asyncio.run(live())
    assert caplog.records[-1].getMessage() == "3 lines that a killed server left are in the decision log now"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_closing_a_dead_stream_says_how_much_is_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(descriptor: int, data: memoryview) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def main() -> None:
        log = DecisionLog.to_stdout()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", dead)
            patch.setattr(decision_log, "PATIENCE_SECONDS", 0.2)
            await log.write(["lost"])
            await log.close()

    asyncio.run(main())
    assert caplog.records[-1].getMessage() == "1 lines of the decision log could not be written"


def test_a_line_that_is_larger_than_the_journal_ends_the_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(decision_log, "PATIENCE_SECONDS", 0.1)
        log = DecisionLog.to_file(tmp_path / "log")
        with pytest.raises(PolicyUnavailable):
            await log.write(["x" * HALF])
        await log.write(["next"])
        await log.close()

    asyncio.run(main())
    assert (tmp_path / "log").read_text() == "next\n"


KILLED = """
import asyncio, sys
from pathlib import Path
from server.authz.decision_log.log import DecisionLog

async def main():
    log = DecisionLog.to_file(Path(sys.argv[1]))
    for number in range(10**9):
        await log.write(['{"line":%d,"of":"%s","filling":"%s"}' % (number, sys.argv[2], "x" * (number % 700))])
        print(number, flush=True)
        if number % 7 == 0:
            await asyncio.sleep(0.0005)

asyncio.run(main())
"""


def test_no_acknowledged_line_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "log", {}
    for life in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(life)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        seen = [writer.stdout.readline() for _ in range(50 + 137 * life)]
        writer.send_signal(signal.SIGKILL)
        seen += writer.stdout.readlines()
        writer.stdout.close()
        writer.wait()
        acknowledged[str(life)] = int(seen[-1])

    async def start() -> None:
        await DecisionLog.to_file(path).close()

    asyncio.run(start())
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    found: dict[str, list[int]] = {life: [] for life in acknowledged}
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the piece at which a writer was killed
        found[record["of"]].append(record["line"])
    for life, last in acknowledged.items():
        # One more may have been in the journal when the acknowledgement was on its way.
        assert found[life] == list(range(len(found[life])))
        assert len(found[life]) - 1 in (last, last + 1)
