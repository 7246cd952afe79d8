"""`inline::lancedb` in a bucket of S3."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import BucketPlace
from server.storage.vectors.opening import STARTING
from tests.support.s3 import BUCKET, Bucket, running_s3
from tests.support.vector_indexes import Opened, chunks, opened, without_vectors

ONE = [1.0] + [0.0] * 7
KEYS = (SecretStr("k"), SecretStr("canary-of-s3"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_s3() as found:
        yield found


def index_in(bucket: Bucket, name: str = BUCKET) -> LanceIndex:
    return LanceIndex(BucketPlace(f"s3://{name}/some/prefix", "us-east-1", bucket.url, KEYS))


@pytest.fixture(scope="module")
def stored(bucket: Bucket) -> Iterator[Opened]:
    with opened(index_in(bucket)) as found:
        yield found


def test_a_store_in_a_bucket_does_what_one_in_a_directory_does(stored: Opened, bucket: Bucket, key: str) -> None:
    given = chunks(40, 1)
    assert stored.add(key, 1, given) == 40
    assert stored.add(key, 2, chunks(20, 2)) == 20
    assert stored.nearest(key, given[3].vector, [1, 2], 1) == [((1, 3), pytest.approx(1.0, abs=1e-5))]
    assert len(stored.nearest(key, ONE, [2], 100)) == 20
    assert stored.matching(key, "text 7", [2], 1) == [(2, 7)]
    assert stored(stored.index.chunks(key, 1, 38, 10)) == without_vectors(given[38:])
    assert all(name.startswith("some/prefix/") for name in bucket.names())


def test_a_purge_leaves_the_rows_that_are_there_alone(stored: Opened, bucket: Bucket, key: str) -> None:
    for part in (1, 2, 3):
        stored.add(key, part, chunks(30, part))
    stored(stored.index.remove(key, [2]))
    stored(stored.index.remove_chunks(key, {3: [1]}))
    assert stored(stored.index.purge(key)) is True
    names = [name for name in bucket.names() if key in name]
    assert not any("_deletions" in name for name in names)
    assert sum("/data/" in name for name in names) == 1
    assert sum(name.endswith(".manifest") for name in names) == 1
    assert len(stored.nearest(key, ONE, [1, 2, 3], 100)) == 59
    stored(stored.index.drop(key))
    assert not any(key in name for name in bucket.names())


def test_two_servers_add_to_one_store(stored: Opened, bucket: Bucket, key: str) -> None:
    with opened(index_in(bucket)) as other:
        for part in range(0, 6, 2):
            assert stored.add(key, part, chunks(5, part)) == 5
            assert other.add(key, part + 1, chunks(5, part + 1)) == 5
        assert len(stored.nearest(key, ONE, range(6), 100)) == len(other.nearest(key, ONE, range(6), 100)) == 30


def test_a_bucket_that_cannot_be_used_is_told_without_a_secret(
    bucket: Bucket, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def run() -> str | None:
        index = index_in(bucket, "no-such-bucket")
        async with index.running():
            for _ in range(1500):
                if index.fault != STARTING:
                    break
                await asyncio.sleep(0.01)
            return index.fault

    with caplog.at_level(logging.DEBUG):
        fault = asyncio.run(run())
    assert fault == "the bucket of the vector index can't be used; correct `uri` or `storage_options`, or start it"
    assert "canary" not in caplog.text + "".join(capfd.readouterr())
