"""Processes that are killed in the middle of a change, and processes that share an index."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from tests.support.patience import PATIENCE
from tests.support.vector_indexes import KINDS, Opened, chunks, index_of, opened
from tests.support.vector_writer import ROWS

ROOT = Path(__file__).parents[4]
ONE = [1.0] + [0.0] * 7
FIRST = 500_000


NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
MORE = [(work, number / 50) for work in ("add", "remove", "purge") for number in range(12)]
KILLS = MORE if NIGHTLY else [("purge", 0.03)]


def writer(kind: str, folder: Path, key: str, first: int, work: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.vector_writer", kind, str(folder), key, str(first), work]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str], lines: int, pause: float) -> list[str]:
    """What the process has said that was killed some time after its first lines."""
    assert process.stdout is not None
    with process:
        said = [process.stdout.readline().strip() for _ in range(lines)]
        time.sleep(pause)
        process.kill()
        # The last line may be half of one.
        return [*said, *(line.strip() for line in process.stdout if line.endswith("\n"))]


def check(index: Opened, key: str, said: list[str]) -> None:
    """Everything that was acknowledged holds, and every part is whole or not there."""
    added = {int(line.split()[1]) for line in said if line.startswith("added")}
    removed = {int(line.split()[1]) for line in said if line.startswith("removed")}
    removing = {int(line.split()[1]) for line in said if line.startswith("removing")}
    parts = range(max(added, default=0) + 2)
    counts = dict.fromkeys(parts, 0)
    for (part, _), _ in index.nearest(key, ONE, parts, 1_000_000):
        counts[part] += 1
    assert {part for part in added - removing if counts[part] != ROWS} == set()
    assert {part for part in removed if counts[part]} == set()
    assert set(counts.values()) <= {0, ROWS}
    for part in list(added - removing)[-2:]:
        assert index.nearest(key, chunks(1, part)[0].vector, [part], 1) == [((part, 0), pytest.approx(1.0, abs=1e-5))]
        assert len(index.matching(key, "text", [part], 1000)) == ROWS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("work", "pause"), KILLS)
def test_a_kill_loses_nothing_that_was_acknowledged(
    kind: str, work: str, pause: float, tmp_path: Path, key: str
) -> None:
    said = killed(writer(kind, tmp_path, key, 1, work), 9, pause)
    assert said[0] == "ready"
    with opened(index_of(kind, tmp_path)) as index:
        check(index, key, said)
        # What the killed process has left keeps nothing from being clean.
        assert index(index.index.purge(key)) is True
        check(index, key, said)


def test_two_processes_add_to_one_store_of_lancedb_and_remove_from_it(tmp_path: Path, key: str) -> None:
    other = writer("lancedb", tmp_path, key, 1, "purge")
    said: list[str] = []
    with other, opened(index_of("lancedb", tmp_path)) as index:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        reader = Thread(target=lambda: said.extend(line.strip() for line in other.stdout or ()))
        reader.start()
        parts = []
        # Neither keeps the other from committing.
        while len(parts) < 6 or sum(line.startswith("added") for line in said) < 3:
            parts.append(FIRST + len(parts))
            assert index.add(key, parts[-1], chunks(ROWS, parts[-1])) == ROWS
            if parts[-1] % 3 == 0:
                index(index.index.remove(key, [parts[-1]]))
            # Searches go on while another process purges the store.
            index.nearest(key, ONE, parts[-1:])
            assert len(parts) < 500
        (tmp_path / "stop").touch()
        reader.join()
        assert other.wait(PATIENCE) == 0
        check(index, key, said)
        mine = [part for part in parts if part % 3]
        found = index.nearest(key, ONE, parts, 100_000)
        assert sorted({part for (part, _), _ in found}) == mine
        assert len(found) == len(mine) * ROWS


def test_what_one_process_adds_another_finds_at_once(tmp_path: Path, key: str) -> None:
    with opened(index_of("lancedb", tmp_path)) as first, opened(index_of("lancedb", tmp_path)) as second:
        assert second.nearest(key, ONE, [1]) == []
        for part in range(1, 4):
            first.add(key, part, chunks(3, part))
            assert len(second.nearest(key, ONE, [part])) == 3
        first(first.index.remove(key, [1]))
        assert second.nearest(key, ONE, [1]) == []
        second(second.index.drop(key))
        assert first.nearest(key, ONE, [2]) == []


def test_one_process_has_the_file_of_faiss(tmp_path: Path, key: str) -> None:
    with opened(index_of("faiss", tmp_path)) as index:
        index.add(key, 1, chunks(3, 1))
        second = index_of("faiss", tmp_path)

        async def open_it() -> str | None:
            import asyncio

            async with second.running():
                for _ in range(500):
                    if second.fault is None or "another process" in second.fault:
                        break
                    await asyncio.sleep(0.01)
                return second.fault

        fault = index(open_it())
        assert fault == "another process has the file of the vector index; stop it, or use `inline::lancedb`"
        assert len(index.nearest(key, ONE, [1])) == 3
    with opened(index_of("faiss", tmp_path)) as index:
        assert len(index.nearest(key, ONE, [1])) == 3
