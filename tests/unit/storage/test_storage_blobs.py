"""What holds of bytes wherever they are kept: in a directory, and in a bucket of a real server that speaks like S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes, token_hex

import pytest

from server.storage.blobs.bucket import BucketBlobs
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.store import PIECE, BlobMissing, Blobs
from tests.support.blob_places import (
    KEYS,
    Place,
    check_unavailable,
    complaint,
    in_bucket,
    key,
    pieces_of,
    read,
    written,
)
from tests.support.s3 import BUCKET, Bucket, running_s3


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_s3() as running:
        yield running


@pytest.fixture(params=["directory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        folder = tmp_path / "somewhere" / "blobs"
        return Place(
            lambda: DirectoryBlobs(folder), lambda: sorted(path.name for path in folder.rglob("*") if path.is_file())
        )
    bucket: Bucket = request.getfixturevalue("bucket")
    prefix = token_hex(4)
    return Place(
        lambda: BucketBlobs(BUCKET, prefix, "us-east-1", bucket.url, KEYS),
        lambda: [key.rpartition("/")[2] for key in bucket.names() if f"{prefix}/" in key],
    )


@pytest.mark.parametrize("size", [1, 1000, PIECE, 3 * PIECE + 1, 9 * 1024 * 1024 + 17])
def test_what_is_written_comes_back(place: Place, size: int) -> None:
    content, name = token_bytes(size), key()

    async def scenario(blobs: Blobs) -> bytes:
        await written(blobs, name, content)
        return await read(blobs, name)

    assert place.run(scenario) == content
    assert place.names() == [name]


def test_a_blob_that_is_not_finished_is_not_seen(place: Place) -> None:
    name = key()

    async def scenario(blobs: Blobs) -> None:
        writing = await blobs.begin(name)
        await writing.write(b"x" * 9 * 1024 * 1024)
        with pytest.raises(BlobMissing):
            await blobs.open(name)
        await writing.abandon()
        with pytest.raises(BlobMissing):
            await blobs.open(name)

    place.run(scenario)
    assert place.names() == []


def test_what_is_abandoned_before_its_first_byte_leaves_nothing(place: Place) -> None:
    async def scenario(blobs: Blobs) -> None:
        writing = await blobs.begin(key())
        await writing.abandon()

    place.run(scenario)
    assert place.names() == []


def test_what_is_deleted_is_gone_and_may_be_deleted_again(place: Place) -> None:
    name = key()

    async def scenario(blobs: Blobs) -> None:
        await written(blobs, name, b"x")
        await blobs.delete(name)
        await blobs.delete(name)
        with pytest.raises(BlobMissing):
            await blobs.open(name)

    place.run(scenario)
    assert place.names() == []


def test_deleting_does_not_take_the_bytes_from_who_is_reading(place: Place) -> None:
    name, content = key(), token_bytes(2 * PIECE)

    async def scenario(blobs: Blobs) -> bytes:
        await written(blobs, name, content)
        reading = await blobs.open(name)
        first = await reading.read()
        await blobs.delete(name)
        rest = [piece async for piece in pieces_of(reading.read)]
        await reading.close()
        return b"".join([first, *rest])

    assert place.run(scenario) == content


KEY = "file-" + "5a" * 24


@pytest.mark.parametrize(
    "wrong", ["", "x", "../" + KEY, KEY + "/x", KEY.upper(), "file-" + "0" * 47, KEY + "\n", "file-/../../x"]
)
def test_only_a_key_of_ours_is_one(place: Place, wrong: str) -> None:
    async def scenario(blobs: Blobs) -> None:
        for use in (blobs.begin, blobs.open, blobs.delete):
            with pytest.raises(ValueError, match="the key of a blob"):
                await use(wrong)

    place.run(scenario)
    assert place.names() == []


def test_a_place_that_can_be_used_starts_and_stays_as_it_is(place: Place) -> None:
    place.run(lambda blobs: blobs.start())
    assert place.names() == []


def test_a_bucket_that_does_not_exist_is_unavailable(bucket: Bucket) -> None:
    check_unavailable(in_bucket(bucket.url, "no-such-bucket"), word="(NoSuchBucket)")
    assert complaint(in_bucket(bucket.url, "no-such-bucket")) == (
        "there is no bucket `no-such-bucket`; make it, or correct `bucket` or `endpoint` in `storage.blobs`"
    )
