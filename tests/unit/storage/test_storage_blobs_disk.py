"""What a blob in a directory asks of the disk: all of its bytes, kept before its end is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex

import pytest

from server.storage.blobs.directory import DirectoryBlobs


def key() -> str:
    return f"file-{token_hex(24)}"


def run(folder: Path, scenario: Callable[[DirectoryBlobs], Awaitable[None]]) -> None:
    async def whole() -> None:
        blobs = DirectoryBlobs(folder)
        await scenario(blobs)
        await blobs.close()

    asyncio.run(whole())


def test_a_blob_and_its_name_are_kept_by_the_disk_before_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, name = tmp_path / "blobs", key()
    path = folder / name[5:7] / name
    kept: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        kept.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        fsync(descriptor)

    async def scenario(blobs: DirectoryBlobs) -> None:
        writing = await blobs.begin(name)
        await writing.write(b"x" * 1000)
        assert kept == []
        await writing.finish()
        assert kept == [(f"{path}.part", False), (str(path.parent), True), (str(folder), True)]

    monkeypatch.setattr(os, "fsync", noted)
    run(folder, scenario)


def test_a_disk_that_takes_a_little_at_a_time_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, content = key(), bytes(range(256)) * 40
    write = os.write

    async def scenario(blobs: DirectoryBlobs) -> None:
        writing = await blobs.begin(name)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, piece: write(descriptor, piece[:7]))
            await writing.write(content)
        await writing.finish()
        reading = await blobs.open(name)
        assert reading.size == len(content)
        assert await reading.read() == content
        await reading.close()

    run(tmp_path, scenario)
