"""The journal: what a dead process leaves is found whole, once, and only by the next one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from server.authz.decision_log.journal import HALF, Journal, left_behind

LINES = [b'{"line":%d}\n' % number for number in range(6)]


def died(journal: Journal) -> None:
    """What a kill does: nothing is tidied up, and the lock is gone."""
    assert journal._lock is not None
    journal._memory.close()
    os.close(journal._lock)


def found(log: Path) -> bytes:
    return b"".join(left_behind(log))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    path.touch()
    return path


def test_it_is_a_file_of_its_own_that_only_its_owner_may_read(log: Path) -> None:
    journal = Journal.beside(log)
    (path,) = log.parent.glob("*.journal-*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_blocks * 512 >= 2 * HALF  # a full disk can't take it away later
    assert journal.outlives
    journal.close()
    assert list(log.parent.iterdir()) == [log]


def test_a_living_process_keeps_its_journal(log: Path) -> None:
    journal = Journal.beside(log)
    assert journal.put(LINES[0])
    assert found(log) == b""
    assert journal.content(0) == LINES[0]
    died(journal)
    assert found(log) == LINES[0]
    assert list(log.parent.iterdir()) == [log]
    assert found(log) == b""


def test_both_halves_are_found_in_the_order_of_their_lines(log: Path) -> None:
    journal = Journal.beside(log)
    for turn in range(3):
        journal.put(LINES[2 * turn])
        journal.put(LINES[2 * turn + 1])
        if turn < 2:
            half = journal.turn()
            assert half is not None
        if turn == 0:
            journal.clear(half)
    assert journal.turn() is None
    died(journal)
    assert found(log) == b"".join(LINES[2:])


def test_what_the_sink_has_is_not_written_again(log: Path) -> None:
    journal = Journal.beside(log)
    journal.put(b"".join(LINES))
    half = journal.turn()
    assert half is not None
    journal.advance(half, len(LINES[0]))
    died(journal)
    assert found(log) == b"".join(LINES[1:])


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(
    ("arrived", "missing"), [(0, LINES), (5, LINES), (10, LINES), (11, LINES[1:]), (30, LINES[2:])]
)
def test_what_arrived_of_an_interrupted_write_is_not_written_again(
    log: Path, arrived: int, missing: list[bytes], moved: bool
) -> None:
    log.write_bytes(b"before\n")
    journal = Journal.beside(log)
    journal.put(b"".join(LINES))
    half = journal.turn()
    assert half is not None
    journal.writing(half, log.stat().st_ino, 7)
    with log.open("ab") as file:
        file.write(b"".join(LINES)[:arrived])
    if moved:
        log.rename(f"{log}.1")
        log.touch()
    died(journal)
    assert found(log) == b"".join(missing)


def test_the_same_bytes_in_another_file_are_no_proof(log: Path) -> None:
    log.write_bytes(b"".join(LINES))
    journal = Journal.beside(log)
    journal.put(LINES[0])
    half = journal.turn()
    assert half is not None
    journal.writing(half, log.stat().st_ino + 1, 0)
    died(journal)
    assert found(log) == LINES[0]


def test_what_a_power_failure_made_of_it_is_never_taken_for_lines(log: Path) -> None:
    path = Path(f"{log}.journal-00000000")
    path.write_bytes(os.urandom(2 * HALF))
    assert all(line.startswith(b"{") for line in found(log).splitlines())
    path.write_bytes(b"short")
    assert found(log) == b""
    assert list(log.parent.iterdir()) == [log]


def test_the_journal_of_another_log_is_left_alone(log: Path) -> None:
    other = Path(f"{log}.other")
    odd = log.parent / "log[1]*"
    for path in (other, odd):
        journal = Journal.beside(path)
        journal.put(LINES[0])
        died(journal)
    assert found(log) == b""
    assert found(other) == found(odd) == LINES[0]


def test_a_full_half_takes_no_more_until_the_next_turn() -> None:
    journal = Journal.in_memory()
    assert not journal.outlives
    line = b"x" * 1023 + b"\n"
    count = 0
    while journal.put(line):
        count += 1
    assert count == (HALF - 40) // 1024
    half = journal.turn()
    assert half is not None
    assert journal.content(half) == line * count
    assert journal.put(line)
    assert journal.turn() is None
    journal.clear(half)
    assert journal.turn() is not None
    journal.close()
