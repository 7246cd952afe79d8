"""Places of blobs, a directory and a bucket, and what is done with blobs in any place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import TypeVar

import pytest
from pydantic import SecretStr

from server.storage.blobs.bucket import BucketBlobs
from server.storage.blobs.store import PIECE, Blobs, BlobsUnavailable, BlobsUnusable
from tests.support.s3 import BUCKET

T = TypeVar("T")
KEYS = (SecretStr("k"), SecretStr("canary-of-s3"))
"""The credentials of buckets."""


class Place:
    """Blobs, and all that is really there."""

    def __init__(self, make: Callable[[], Blobs], names: Callable[[], list[str]]) -> None:
        self.make = make
        self.names = names

    def run(self, scenario: Callable[[Blobs], Awaitable[T]]) -> T:
        """What the scenario returns, in an event loop of its own."""

        async def whole() -> T:
            blobs = self.make()
            try:
                return await scenario(blobs)
            finally:
                await blobs.close()

        return asyncio.run(whole())


def key() -> str:
    return f"file-{token_hex(24)}"


async def written(blobs: Blobs, name: str, content: bytes, piece: int = PIECE) -> None:
    writing = await blobs.begin(name)
    for start in range(0, len(content), piece):
        await writing.write(content[start : start + piece])
    await writing.finish()


async def read(blobs: Blobs, name: str) -> bytes:
    reading = await blobs.open(name)
    try:
        pieces = [piece async for piece in pieces_of(reading.read)]
        assert sum(map(len, pieces)) == reading.size
        return b"".join(pieces)
    finally:
        await reading.close()


async def pieces_of(more: Callable[[], Awaitable[bytes]]):  # type: ignore[no-untyped-def]
    while piece := await more():
        yield piece


def check_unavailable(blobs: Blobs, *, word: str = "", pinged: bool = True) -> None:
    """Whatever is asked, the place can't be used: nothing is missing in it."""

    async def scenario() -> None:
        for use in (
            lambda: written(blobs, key(), b"x"),
            lambda: written(blobs, key(), b"x" * 9_000_000),
            lambda: blobs.open(key()),
            lambda: blobs.delete(key()),
            *([blobs.ping] if pinged else []),
        ):
            with pytest.raises(BlobsUnavailable) as caught:
                await use()
            assert type(caught.value) is BlobsUnavailable
            assert word in str(caught.value)

    asyncio.run(scenario())


def complaint(blobs: Blobs) -> str:
    """What a start says of such a place."""

    async def scenario() -> str:
        with pytest.raises(BlobsUnusable) as caught:
            await blobs.start()
        return str(caught.value)

    said = asyncio.run(scenario())
    assert "canary" not in said
    return said


def in_bucket(url: str, name: str = BUCKET, keys: tuple[SecretStr, SecretStr] | None = KEYS) -> BucketBlobs:
    """Blobs in a bucket at that address."""
    return BucketBlobs(name, "p", "us-east-1", url, keys)
