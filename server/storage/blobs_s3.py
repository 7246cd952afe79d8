"""The bytes of files in a bucket, of S3 or of a server that speaks like it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import SecretStr

from server.storage.blobs import PIECE, BlobMissing, BlobsUnavailable, checked

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, BytesStream

_PART: Final = 8 * 1024 * 1024
"""Bytes that are sent at a time; S3 takes 10,000 of such parts."""

_CONNECT: Final = timedelta(seconds=5)
_SILENCE: Final = timedelta(seconds=30)
_WHOLE: Final = timedelta(hours=24)
_TRIES: Final = 3


class BucketBlobs:
    """A blob is the object `prefix/file-…` of `bucket`; without keys, the machine's own credentials are used.

    S3 shows an object only when it is whole. What a killed server has sent of one stays in the bucket unseen, until the
    bucket's rule for incomplete uploads removes it.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        region: str,
        endpoint: str | None,
        keys: tuple[SecretStr, SecretStr] | None,
    ) -> None:
        self._name = f"bucket `{bucket}`"
        key, secret = (None, None) if keys is None else keys
        self._store = S3Store(
            bucket,
            prefix=prefix,
            region=region,
            endpoint=endpoint,
            access_key_id=None if key is None else key.get_secret_value(),
            secret_access_key=None if secret is None else secret.get_secret_value(),
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": _CONNECT,
                "read_timeout": _SILENCE,
                # An answer is read as slowly as a client reads ours.
                "timeout": _WHOLE,
            },
            retry_config={"max_retries": _TRIES, "retry_timeout": _SILENCE},
        )

    async def begin(self, key: str) -> BucketWriting:
        """Start to write a blob; nothing is sent yet."""
        writer = obstore.open_writer_async(self._store, checked(key), buffer_size=_PART, max_concurrency=1)
        return BucketWriting(self._name, writer)

    async def open(self, key: str) -> BucketReading:
        """Start to read a blob; raises BlobMissing and BlobsUnavailable."""
        with _reported(self._name):
            found = await obstore.get_async(self._store, checked(key))
            return BucketReading(self._name, found.meta["size"], found.stream(min_chunk_size=PIECE))

    async def delete(self, key: str) -> None:
        """Remove the blob; there may be none. Raises BlobsUnavailable."""
        with _reported(self._name), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, checked(key))

    async def ping(self) -> None:
        """Return if the bucket can be listed; raises BlobsUnavailable."""
        try:
            with _reported(self._name):
                await anext(aiter(obstore.list(self._store, chunk_size=1)), None)
        except BlobMissing:
            raise BlobsUnavailable(f"the {self._name} does not exist") from None

    async def close(self) -> None:
        """There is nothing to let go of."""


class BucketWriting:
    """An object that is being sent."""

    def __init__(self, name: str, writer: AsyncWritableFile) -> None:
        self._name = name
        self._writer = writer

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable."""
        with _reported(self._name):
            await self._writer.write(piece)

    async def finish(self) -> None:
        """Return when the object is there; raises BlobsUnavailable."""
        with _reported(self._name):
            await self._writer.close()

    async def abandon(self) -> None:
        """Have the bucket forget what it was sent."""
        # Leaving a writer's context by an exception is how it is told.
        fault = BlobsUnavailable("abandoned")
        with suppress(BaseError, OSError, ValueError):
            await self._writer.__aexit__(type(fault), fault, None)


class BucketReading:
    """An object that is being fetched."""

    def __init__(self, name: str, size: int, pieces: BytesStream) -> None:
        self._name = name
        self._pieces = pieces
        self.size = size

    async def read(self) -> bytes:
        """The next piece, or nothing at the end; raises BlobsUnavailable."""
        with _reported(self._name):
            return await anext(self._pieces, b"")

    async def close(self) -> None:
        """Its connection is closed when nothing refers to it."""
        del self._pieces


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BlobMissing(f"a file's bytes are missing in the {name}") from None
    except (BaseError, OSError) as error:
        # The texts of such errors hold whole answers; what kind it is says enough.
        raise BlobsUnavailable(f"the {name} can't be used ({type(error).__name__})") from None
