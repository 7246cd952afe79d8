"""An index that is cancelled while it opens, waits or changes keeps no lock and no file, and stays right."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from threading import enumerate as threads
from typing import Any

import pytest

from server.background.ends import to_its_end
from server.storage.vectors import rows
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.faiss_rows import FaissRows
from server.storage.vectors.index import VectorIndex
from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import Directory
from tests.support.cancelled_steps import When, cancelled_at
from tests.support.vector_indexes import DIMENSIONS, KINDS, chunks, index_of, pieces, ready

LOCK = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def held(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return [path for path in found if path.startswith(f"{folder}/")]


def test_an_opening_that_is_cancelled_gives_the_file_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, really = Event(), FaissRows._open

    def slow(self: FaissRows) -> None:
        really(self)
        loop.call_soon_threadsafe(opened.set)
        assert may_end.wait(30)

    async def run() -> None:
        nonlocal loop, opened
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(for_ever(index_of("faiss", tmp_path)))
        await opened.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        loop.call_later(0.01, may_end.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert held(tmp_path) == []
        command = [sys.executable, "-I", "-S", "-c", LOCK, str(tmp_path / "f.db.lock")]
        subprocess.run(command, check=True)  # noqa: ASYNC221 - nothing else runs here
        monkeypatch.undo()
        async with index_of("faiss", tmp_path).running():
            pass
        index = index_of("faiss", tmp_path)
        async with index.running():
            await ready(index)
        assert held(tmp_path) == []

    loop: asyncio.AbstractEventLoop
    opened: asyncio.Event
    monkeypatch.setattr(FaissRows, "_open", slow)
    asyncio.run(run())


async def for_ever(index: VectorIndex) -> None:
    async with index.running():
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("kind", KINDS)
def test_an_opening_may_be_cancelled_at_any_moment(kind: str, when: When, tmp_path: Path) -> None:
    async def run() -> None:
        step, cancelled = 0, True
        while cancelled:
            index = index_of(kind, tmp_path)
            cancelled = await cancelled_at(step, when, opened_and_closed(index))
            assert held(tmp_path) == [], step
            if isinstance(index, FaissIndex):
                index._changing.shutdown()
                index._searching.shutdown()
            step += 1
        assert step > 1

    asyncio.run(run())


async def opened_and_closed(index: VectorIndex) -> None:
    assert isinstance(index, FaissIndex | LanceIndex)
    made = await index._open()
    await to_its_end(index._close(made) if isinstance(index, FaissIndex) else index._closed(made))


def test_an_index_that_never_opened_leaves_no_threads(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_bytes(b"no database at all" * 1000)

    async def run() -> None:
        index = index_of("faiss", tmp_path)
        async with index.running():
            while "another kind of file" not in str(index.fault):  # noqa: ASYNC110 - the index is what changes it
                await asyncio.sleep(0.01)

    asyncio.run(run())
    for thread in threads():
        if thread.name.startswith("faiss"):
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("when", When)
def test_a_lock_that_is_waited_for_is_left_open_at_no_moment(alone: bool, when: When, tmp_path: Path) -> None:
    async def run() -> None:
        place, key = Directory(tmp_path), secrets.token_hex(16)
        await place.prepare()
        other = os.open(tmp_path / ".locks" / key, os.O_RDWR | os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)

        async def hold() -> None:
            async with place.held(key, alone=alone):
                pass

        # It waits for its file, and then again and again for the lock.
        for step in range(4):
            assert await cancelled_at(step, when, hold())
            assert len(held(tmp_path)) == 1, step
        os.close(other)
        assert held(tmp_path) == []

    asyncio.run(run())


@asynccontextmanager
async def filled(kind: str, folder: Path, key: str) -> AsyncIterator[VectorIndex]:
    index = index_of(kind, folder)
    async with index.running():
        await ready(index)
        await index.add(key, DIMENSIONS, 1, pieces(chunks(5, 1)))
        await index.nearest(key, chunks(1, 1)[0].vector, [1], 1)
        yield index


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_cancelled_addition_are_nowhere(
    kind: str, when: When, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "HELD_BYTES", 1000)

    async def run() -> None:
        key, vector = secrets.token_hex(16), chunks(1, 1)[0].vector
        async with filled(kind, tmp_path, key) as index:
            usual, step, part = len(held(tmp_path)), 0, 2
            while await cancelled_at(step, when, index.add(key, DIMENSIONS, part, pieces(chunks(60, 1), 30))):
                assert len([path for path in held(tmp_path) if "deleted" in path or ".locks" in path]) == 0, step
                if kind == "faiss":
                    # Of LanceDB, a cancelled commit may come to its end; the note of the attempt has it removed.
                    assert [hit.part for hit in await index.nearest(key, vector, [1, part], 9)] == [1] * 5, step
                    assert await index.chunks(key, part, 0, 1) == []
                step, part = step + 1, part + 1
            assert step > 2
            assert len(await index.chunks(key, part, 0, 100)) == 60
            assert usual >= 0

    asyncio.run(run())


@pytest.mark.parametrize("when", When)
def test_a_commit_to_lancedb_that_has_begun_comes_to_its_end(
    when: When, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lancedb.table import AsyncTable

    add, begun, ended = AsyncTable.add, list[int](), list[int]()

    async def noted(*given: Any, **named: Any) -> Any:
        begun.append(step)
        done = await add(*given, **named)
        ended.append(step)
        return done

    async def run() -> None:
        nonlocal step
        key = secrets.token_hex(16)
        async with filled("lancedb", tmp_path, key) as index:
            monkeypatch.setattr(AsyncTable, "add", noted)
            while await cancelled_at(step, when, index.add(key, DIMENSIONS, 2 + step, pieces(chunks(60, 1), 30))):
                assert begun == ended
                step += 1
            assert len(begun) > 1

    step = 0
    asyncio.run(run())
