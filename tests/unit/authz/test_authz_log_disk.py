"""What the decision log asks of the disk and when, and what it does once the disk or the log itself is gone."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.decision_log import log as module
from server.authz.decision_log.disk_space import DiskSpace
from server.authz.decision_log.journal import Journal
from server.authz.decision_log.limits import LOW_SPACE, SPACE_SECONDS
from server.authz.decision_log.log import DecisionLog
from server.authz.decision_log.sink import Beginning, LogFile, Rotation, Stream
from server.telemetry.dependencies import Dependency, State


class Refusing:
    """A sink on a disk that is full."""

    def append(self, lines: bytes, start: int, begin: Beginning) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None: ...

    def free_bytes(self) -> int:
        return 0

    def close(self) -> None: ...


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The inode and the size of each file that the disk was asked to keep, at that moment."""
    kept: list[tuple[int, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        status = os.fstat(descriptor)
        kept.append((status.st_ino, status.st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return kept


def append(file: LogFile, line: bytes) -> None:
    assert file.append(line, 0, lambda _inode, _place: None) == len(line)


def test_a_file_is_kept_by_the_disk_before_it_is_rotated(tmp_path: Path, synced: list[tuple[int, int]]) -> None:
    path, line = tmp_path / "log", b"{" + b"x" * 60 + b"}\n"
    file = LogFile(path, Rotation(100, 3))
    append(file, line)
    assert synced == []
    append(file, line)
    assert {*synced} == {((tmp_path / "log.1").stat().st_ino, len(line))}
    file.sync()
    assert synced[-1] == (path.stat().st_ino, len(line))
    file.close()


def test_a_file_that_was_taken_away_is_kept_by_the_disk_before_it_is_left(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    append(file, b"{1}\n")
    path.rename(tmp_path / "elsewhere")
    append(file, b"{2}\n")
    assert synced == [((tmp_path / "elsewhere").stat().st_ino, 4)]
    assert (path.read_bytes(), (tmp_path / "elsewhere").read_bytes()) == (b"{2}\n", b"{1}\n")
    file.close()


def test_what_a_killed_server_left_is_kept_by_the_disk_before_its_journal_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    left = Journal.beside(path)
    assert left.put(b'{"left":1}\n')
    journal = next(tmp_path.glob("log.journal-*"))
    kept = journal.read_bytes()
    left.close()
    journal.unlink()
    journal.write_bytes(kept)  # nobody has it locked any more
    states: list[tuple[bytes, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        states.append((path.read_bytes(), journal.exists()))
        fsync(descriptor)

    async def scenario() -> None:
        log = DecisionLog.to_file(path)
        assert states == [(b'{"left":1}\n', True)]
        assert not journal.exists()
        await log.close()

    monkeypatch.setattr(os, "fsync", noted)
    asyncio.run(scenario())


def test_a_link_in_the_place_of_a_journal_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    left = Journal.beside(tmp_path / "log")
    assert left.put(b'{"foreign":1}\n')
    other.write_bytes(next(tmp_path.glob("log.journal-*")).read_bytes())
    left.close()
    for journal in tmp_path.glob("log.journal-*"):
        journal.unlink()
    link = tmp_path / "log.journal-0a0b0c0d"
    link.symlink_to(other)

    async def scenario() -> None:
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            DecisionLog.to_file(tmp_path / "log")

    asyncio.run(scenario())
    assert link.is_symlink()
    assert other.exists()
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.alone
def test_once_a_sink_has_failed_for_long_it_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 1.0)

    async def scenario() -> None:
        log = DecisionLog(Refusing(), Journal.in_memory())
        await log.write(["{1}"])
        while log.fault is None:  # noqa: ASYNC110 - a thread of the log's own tells it
            await asyncio.sleep(0.01)
        assert log.fault == os.strerror(errno.ENOSPC)
        waits = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(PolicyUnavailable) as failed:
                await log.write(["{2}"])
            assert failed.value.failure is Failure.DECISION_LOG
            waits.append(time.monotonic() - began)
        assert waits[0] < 1.5
        assert sum(waits[1:]) < 0.5
        await log.close()

    asyncio.run(scenario())


def test_a_log_that_is_closed_takes_no_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        await log.write(["{1}"])
        await log.close()
        with pytest.raises(PolicyUnavailable) as failed:
            await log.write(["{2}"])
        assert failed.value.failure is Failure.DECISION_LOG
        await log.close()

    asyncio.run(scenario())
    assert (tmp_path / "log").read_text() == "{1}\n"


def test_a_disk_that_gets_full_is_warned_about_once_and_again_only_after_it_had_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, free = 0.0, LOW_SPACE
    space = DiskSpace(lambda: free, lambda: now)
    seen = []
    for left in (LOW_SPACE, LOW_SPACE - 1, 0, LOW_SPACE, 2 * LOW_SPACE, LOW_SPACE - 1):
        free = left
        space.look()
        seen.append((space.free, space.is_low))
        space.look()
        now += SPACE_SECONDS
    assert seen == [
        (LOW_SPACE, False),
        (LOW_SPACE - 1, True),
        (0, True),
        (LOW_SPACE, True),
        (2 * LOW_SPACE, False),
        (LOW_SPACE - 1, True),
    ]
    said = [record.message.split(" of the decision log ")[1].split(" MB")[0] for record in caplog.records]
    assert said == ["has 536", "has room again: 1073", "has 536"]


def test_the_free_space_is_that_of_the_files_disk_and_a_stream_has_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = DecisionLog.to_file(tmp_path / "log")
        while log.space.free is None:  # noqa: ASYNC110 - a thread of the log's own tells it
            await asyncio.sleep(0.01)
        disk = os.statvfs(tmp_path)
        assert 0 < log.space.free <= disk.f_blocks * disk.f_frsize
        await log.close()

    asyncio.run(scenario())
    assert Stream(1).free_bytes() is None


def test_a_low_disk_is_a_detail_of_readiness_and_stops_nothing() -> None:
    log = Dependency("decision_log", needed=True)
    reasons: list[str | None] = [None, "its disk has less than 512 MiB left", None]
    log.strain = lambda: reasons[0]
    states = []
    while reasons:
        log.worked()
        states.append((log.finding.state, log.finding.reason))
        reasons.pop(0)
        if not reasons:
            break
    assert states == [(State.OK, None), (State.DEGRADED, "its disk has less than 512 MiB left"), (State.OK, None)]


def test_a_pipe_is_no_file_that_could_be_rotated(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    file = LogFile(link, Rotation(1, 1))
    append(file, b"{" + b"x" * 60 + b"}\n")
    append(file, b"{2}\n")
    assert os.read(reader, 1000).endswith(b"{2}\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "pipe"]
    assert file.free_bytes() is None
    file.close()
    os.close(reader)
