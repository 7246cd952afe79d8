"""Reads and writes of files come in turns of their callers, and what cleans up never waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import NoRoom, Share
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.shared import IN_BUCKET, ON_DISK, SharedBlobs

GREEDY: Caller = ("principal", "issuer", "greedy")
MODEST: Caller = ("principal", "issuer", "modest")


def key(number: int) -> str:
    return f"file-{number:048x}"


@pytest.mark.parametrize("share", [ON_DISK, IN_BUCKET])
def test_one_caller_leaves_places_to_others(share: Share) -> None:
    assert share.each <= share.capacity // 2


def test_a_caller_with_many_uploads_delays_those_of_another_by_few_pieces(tmp_path: Path) -> None:
    order: list[Caller] = []

    async def upload(blobs: SharedBlobs, caller: Caller, number: int) -> None:
        CURRENT.set(caller)
        writing = await blobs.begin(key(number))
        await writing.write(b"some bytes")
        await writing.finish()
        order.append(caller)
        reading = await blobs.open(key(number))
        assert await reading.read() == b"some bytes"
        await reading.close()

    async def run() -> None:
        blobs = SharedBlobs(DirectoryBlobs(tmp_path), ON_DISK)
        await blobs.start()
        greedy = [asyncio.create_task(upload(blobs, GREEDY, number)) for number in range(64)]
        while blobs.shares.waiting < 60:  # noqa: ASYNC110 - shares announce nothing to tests
            await asyncio.sleep(0)
        await upload(blobs, MODEST, 64)
        assert order.index(MODEST) <= 16
        await asyncio.gather(*greedy)
        assert (blobs.shares.used, blobs.shares.waiting, len(blobs.shares._holders)) == (0, 0, 0)
        await blobs.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_refused_upload_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> None:
        blobs = SharedBlobs(DirectoryBlobs(tmp_path), Share("files", 1, 1, 0, 0, seconds=1.0))
        await blobs.start()
        writing = await blobs.begin(key(1))
        async with blobs.shares.turn():
            with pytest.raises(NoRoom):
                await writing.write(b"more")
            await writing.abandon()
        await blobs.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
