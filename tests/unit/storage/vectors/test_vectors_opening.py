"""Indexes open in the background, and say in one sentence why they can't."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.storage.vectors import opening, rows
from server.storage.vectors.index import IndexUnavailable, VectorIndex
from server.storage.vectors.opening import FULL, STARTING
from server.storage.vectors.rows import NewRows
from tests.support.vector_indexes import DIMENSIONS, KINDS, chunks, index_of, opened, pieces, ready

ROOT = Path(__file__).parents[4]
KEY = "0123456789abcdef" * 2


async def refused(index: VectorIndex) -> IndexUnavailable:
    with pytest.raises(IndexUnavailable) as caught:
        await index.matching(KEY, "text", [1], 1)
    return caught.value


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_waits_for_the_opening(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        index = index_of(kind, tmp_path)
        began = time.monotonic()
        async with index.running():
            fault = await refused(index)
            assert (str(fault), fault.starting) == (STARTING, True)
            assert index.fault == STARTING
            assert time.monotonic() - began < 0.5
            await ready(index)
            assert await index.matching(KEY, "text", [1], 1) == []
        assert not (await refused(index)).starting

    asyncio.run(run())


def test_an_index_for_its_first_use_opens_then(tmp_path: Path) -> None:
    async def run() -> None:
        index = index_of("lancedb", tmp_path / "later", lazily=True)
        async with index.running():
            await asyncio.sleep(0.05)
            assert index.fault is None
            assert not (tmp_path / "later").exists()
            assert (await refused(index)).starting
            await ready(index)
            assert (tmp_path / "later").is_dir()

    asyncio.run(run())


LAZY = """
import sys
import server.cli.main, server.wiring.application, server.wiring.vectors, server.cli.limits.table
from pathlib import Path
from server.config import Config
from server.telemetry.dependencies import Dependencies
from server.wiring.vectors import VectorIndexes
indexes = VectorIndexes(Config(), Dependencies())
assert indexes.ids == ("lancedb",)
print(sorted({"lancedb", "pyarrow", "numpy", "faiss"} & sys.modules.keys()))
"""


def test_nothing_is_imported_before_an_index_is_opened() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def a_file(place: Path) -> None:
    place.write_text("a file")


def not_writable(place: Path) -> None:
    place.mkdir(mode=0o500)


def of_another_user(place: Path) -> None:
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)


SENTENCES = [
    (a_file, "a file is in its place; move it away, or choose another place", 0),
    (not_writable, "the user of the server may not write it; change its permissions", 65533),
    (of_another_user, "it belongs to another user; give it to the user of the server", 65533),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("make", "sentence", "user"), SENTENCES)
def test_a_place_that_cannot_be_used_is_told(
    kind: str, make: Callable[[Path], None], sentence: str, user: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if user and os.geteuid() != 0:
        pytest.skip("only root may become another user")
    for step in (tmp_path, *tmp_path.parents[:-1]):
        if step.stat().st_uid == os.geteuid() and len(step.parts) > 2:
            step.chmod(step.stat().st_mode | 0o011)
    make(tmp_path / "x")
    if make is not_writable:
        os.chown(tmp_path / "x", user, user)

    async def run() -> str:
        index = index_of(kind, tmp_path / "x")
        async with index.running():
            for _ in range(1000):
                if index.fault != STARTING:
                    break
                await asyncio.sleep(0.01)
            assert not (await refused(index)).starting
            return str(index.fault)

    before = os.geteuid()
    if user:
        os.seteuid(user)
    try:
        with caplog.at_level(logging.WARNING):
            fault = asyncio.run(run())
    finally:
        os.seteuid(before)
    assert fault == f"the directory of the vector index can't be used: {sentence}"
    assert f"{fault} ({tmp_path / 'x'})" in caplog.messages


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_bytes(b"no database at all" * 1000)

    async def run() -> str | None:
        index = index_of("faiss", tmp_path)
        async with index.running():
            for _ in range(1000):
                if index.fault != STARTING:
                    break
                await asyncio.sleep(0.01)
            return index.fault

    assert asyncio.run(run()) == (
        "the file of the vector index can't be used: another kind of file is in its place; move it away, or choose "
        "another `db_path`"
    )
    assert (tmp_path / "f.db").read_bytes().startswith(b"no database")


def test_a_file_that_could_not_be_opened_is_opened_once_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.01)
    file = tmp_path / "f.db"
    file.write_bytes(b"no database at all" * 1000)
    files = tmp_path.as_posix()

    def held() -> int:
        places = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names alone
        return sum(os.path.realpath(place).startswith(files) for place in places)

    async def run() -> None:
        index = index_of("faiss", tmp_path)
        async with index.running():
            while index.fault == STARTING:  # noqa: ASYNC110 - the index is what changes it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            # Each try gives the file up, and is no other process for the next one.
            assert "another kind of file" in str(index.fault)
            assert held() <= 2
            file.unlink()
            await ready(index)
            assert await index.matching(KEY, "text", [1], 1) == []

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_opens_once_its_place_can_be_used(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.05)
    (tmp_path / "x").write_text("a file")

    async def run() -> None:
        index = index_of(kind, tmp_path / "x")
        async with index.running():
            for _ in range(1000):
                if index.fault != STARTING:
                    break
                await asyncio.sleep(0.01)
            (tmp_path / "x").unlink()
            await ready(index)

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_loses_nothing(kind: str, tmp_path: Path) -> None:
    """A limit of this process on the size of files stands for the disk: both end a write with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(index_of(kind, tmp_path)) as index:
        index.add(KEY, 1, chunks(5, 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            with pytest.raises(IndexUnavailable, match="disk of the vector index is full"):
                index(index.index.add(KEY, DIMENSIONS, 2, pieces(chunks(4000, 2, "x" * 200 + "{number}"))))
            assert index.index.fault == FULL
            assert len(index.nearest(KEY, chunks(1, 1)[0].vector, [1, 2], 100)) == 5
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        index.add(KEY, 3, chunks(5, 3))
        assert index.index.fault is None
        assert len(index.nearest(KEY, chunks(1, 1)[0].vector, [1, 2, 3], 10_000)) == 10
        assert index(index.index.purge(KEY)) is True


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_a_large_part_is_held_in_a_file_without_a_name(
    has_descriptors: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "HELD_BYTES", 10_000)
    if not has_descriptors:
        monkeypatch.setattr(rows, "DESCRIPTORS", tmp_path / "absent")
    part = NewRows(DIMENSIONS, tmp_path)
    given = chunks(2500, 1)
    part.write([(7, chunk) for chunk in given[:1500]])
    part.write([(8, chunk) for chunk in given[1500:]])
    assert [*tmp_path.iterdir()] == []
    for _ in range(2):
        table = part.read().read_all()
        assert table["ordinal"].to_pylist() == list(range(2500))
        assert table["part"].to_pylist() == [7] * 1500 + [8] * 1000
        assert table["text"].to_pylist() == [chunk.text for chunk in given]
    part.close()
