"""Directories that can't be used, disks that refuse, and who may read what is in a directory."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from shutil import rmtree

import pytest

from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.store import BlobMissing, BlobsFull, BlobsUnavailable
from tests.support.blob_places import complaint, key, written


def test_a_directory_that_has_gone_is_unavailable_and_a_file_that_has_gone_is_missing(tmp_path: Path) -> None:
    folder, name = tmp_path / "mount", key()

    async def scenario() -> None:
        blobs = DirectoryBlobs(folder)
        await blobs.start()
        await written(blobs, name, b"x")
        with pytest.raises(BlobMissing):
            await blobs.open(key())
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(BlobsUnavailable) as caught:
            await blobs.open(name)
        assert type(caught.value) is BlobsUnavailable

    asyncio.run(scenario())


def test_a_file_whose_writing_was_cleared_away_is_not_missing_but_unavailable(tmp_path: Path) -> None:
    async def scenario() -> None:
        blobs = DirectoryBlobs(tmp_path / "blobs")
        writing = await blobs.begin(key())
        await writing.write(b"x")
        rmtree(tmp_path / "blobs")
        with pytest.raises(BlobsUnavailable) as caught:
            await writing.finish()
        assert type(caught.value) is BlobsUnavailable
        await writing.abandon()

    asyncio.run(scenario())


def test_a_directory_that_can_not_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "blobs", Path("/proc/self/blobs"), Path("/proc/self")):
        said = complaint(DirectoryBlobs(path))
        assert said.startswith(f"files can't be kept in `{path}`: ")
        assert said.endswith("; choose another `path` in `storage.blobs`")


def test_a_directory_and_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder, name = tmp_path / "blobs", key()
    asyncio.run(written(DirectoryBlobs(folder), name, b"x"))
    modes = {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes == {0o700}
    assert (folder / name[5:7] / name).stat().st_mode & 0o777 == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    folder, name = tmp_path / "blobs", key()
    shard = folder / name[5:7]
    shard.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (shard / name).symlink_to(tmp_path / "secret")
    with pytest.raises(BlobsUnavailable):
        asyncio.run(DirectoryBlobs(folder).open(name))


def test_a_directory_that_can_not_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobsUnavailable, match="Not a directory"):
        asyncio.run(DirectoryBlobs(tmp_path / "file" / "blobs").begin(key()))


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, BlobsFull), (errno.EIO, BlobsUnavailable)])
def test_what_the_disk_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(_descriptor: int, _piece: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    async def scenario() -> None:
        blobs = DirectoryBlobs(tmp_path)
        writing = await blobs.begin(key())
        with monkeypatch.context() as patch, pytest.raises(BlobsUnavailable) as caught:
            patch.setattr(os, "write", refuse)
            await writing.write(b"x")
        assert type(caught.value) is kind
        await writing.abandon()
        await blobs.close()

    asyncio.run(scenario())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("blocks", "free", "fits"),
    [(10**7, 65_536, True), (10**7, 65_535, False), (10_000, 500, True), (10_000, 499, False), (0, 0, True)],
)
def test_files_leave_room_on_the_disk_for_the_log_and_the_records(
    blocks: int, free: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs_result((4096, 4096, blocks, free + 77, free, 0, 0, 0, 0, 255))
    monkeypatch.setattr("server.storage.blobs.directory.os.fstatvfs", lambda _descriptor: disk)

    async def run() -> None:
        blobs = DirectoryBlobs(tmp_path)
        name = key()
        writing = await blobs.begin(name)
        if fits:
            await writing.write(b"x")
            await writing.finish()
        else:
            with pytest.raises(BlobsFull):
                await writing.write(b"x")
            await writing.abandon()
        await blobs.close()

    asyncio.run(run())
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == fits


def test_being_cut_off_in_the_middle_of_a_write_leaves_nothing_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        blobs = DirectoryBlobs(tmp_path)
        for _ in range(20):
            writing = await blobs.begin(key())
            task = asyncio.create_task(writing.write(b"x" * 5_000_000))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await writing.abandon()
        for _ in range(20):
            task = asyncio.create_task(blobs.begin(key()))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await blobs.close()

    before = len(list(Path("/proc/self/fd").iterdir()))
    asyncio.run(scenario())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
