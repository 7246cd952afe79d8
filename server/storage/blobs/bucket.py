"""Storage of files' bytes in a bucket of S3 or of a compatible server."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import SecretStr

from server.storage.blobs.store import PIECE, BlobMissing, BlobsUnavailable, BlobsUnusable, checked

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, BytesStream
    from obstore.store import S3Config

_PART: Final = 8 * 1024 * 1024
"""Bytes that are sent at a time; S3 takes 10,000 of such parts."""

_CONNECT: Final = timedelta(seconds=5)
_SILENCE: Final = timedelta(seconds=30)
_WHOLE: Final = timedelta(hours=24)
_TRIES: Final = 3
_START_SECONDS: Final = 15.0

_NOBODYS: Final = f"file-{'0' * 48}"
"""A key that no blob has: a usable bucket answers only that it is missing."""

_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_NO_KEY: Final = "NoSuchKey"
_NOT_TOLD: Final = "AccessDenied"
_NO_BUCKET: Final = "NoSuchBucket"
_WRONG_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"})
_WRONG_CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "SignatureDoesNotMatch"}
)

_log: Final = logging.getLogger("ostiary.storage")


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
        self._own_keys = keys is not None
        # An absent option must be left out: the store takes no None.
        given: S3Config = {} if endpoint is None else {"endpoint": endpoint}
        if keys is not None:
            given["access_key_id"], given["secret_access_key"] = (key.get_secret_value() for key in keys)
        self._store = S3Store(
            bucket,
            prefix=prefix,
            region=region,
            config=given,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": _CONNECT,
                "read_timeout": _SILENCE,
                # An answer is read as slowly as the client reads it.
                "timeout": _WHOLE,
            },
            retry_config={"max_retries": _TRIES, "retry_timeout": _SILENCE},
        )

    @property
    def gathered(self) -> int:
        """The bytes of the part that gathers, and of the one that is being sent."""
        return 2 * _PART

    async def start(self) -> None:
        """Check that the bucket exists and accepts the credentials; raise BlobsUnusable."""
        code = await self._said()
        if code == _NOT_TOLD:
            _log.warning("the %s doesn't say whether it may be used; let it be listed, and it will", self._name)
        elif code != _NO_KEY:
            raise BlobsUnusable(self._complaint(code))

    async def ping(self) -> None:
        """Return if the bucket exists and accepts the credentials; raise BlobsUnavailable."""
        code = await self._said()
        if code not in (_NO_KEY, _NOT_TOLD):
            raise BlobsUnavailable(f"the {self._name} can't be used ({code or 'no answer'})")

    async def _said(self) -> str | None:
        """Return the bucket's error code for a key that doesn't exist; None where the answer isn't S3's.

        It needs no more rights than fetching a file does. A bucket that doesn't allow listing has the same code for a
        missing object as for one that may not be read.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await obstore.get_async(self._store, _NOBODYS)
        except (BaseError, OSError, TimeoutError) as error:
            return _code_of(error)
        return _NO_KEY

    def _complaint(self, code: str | None) -> str:
        """Return the sentence about a bucket with this answer; None is no answer."""
        if code is None:
            service = "" if self._own_keys else ", or the service that has this machine's credentials,"
            hint = "start it, or correct `endpoint` in `storage.blobs`"
            return f"the {self._name}{service} can't be reached, or something else answers there; {hint}"
        if code == _NO_BUCKET:
            return f"there is no {self._name}; make it, or correct `bucket` or `endpoint` in `storage.blobs`"
        if code in _WRONG_CREDENTIALS:
            keys = "`access_key_id` and `secret_access_key` in `storage.blobs`" if self._own_keys else "this machine's"
            return f"the {self._name} doesn't accept the credentials ({code}); correct {keys}"
        if code in _WRONG_REGION:
            return f"the {self._name} is in another region; correct `region` in `storage.blobs`"
        return f"the {self._name} can't be used ({code}); correct `storage.blobs`, or try again later"

    async def begin(self, key: str) -> BucketWriting:
        """Start to write a blob; nothing is sent yet."""
        writer = obstore.open_writer_async(self._store, checked(key), buffer_size=_PART, max_concurrency=1)
        return BucketWriting(self._name, writer)

    async def open(self, key: str) -> BucketReading:
        """Start to read a blob; raise BlobMissing or BlobsUnavailable."""
        with _reported(self._name):
            found = await obstore.get_async(self._store, checked(key))
            return BucketReading(self._name, found.meta["size"], found.stream(min_chunk_size=PIECE))

    async def delete(self, key: str) -> None:
        """Remove the blob, if it exists; raise BlobsUnavailable."""
        with suppress(BlobMissing), _reported(self._name):
            await obstore.delete_async(self._store, checked(key))

    async def close(self) -> None:
        """Do nothing: connections close on their own."""


class BucketWriting:
    """An object that is being uploaded."""

    def __init__(self, name: str, writer: AsyncWritableFile) -> None:
        self._name = name
        self._writer = writer

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises BlobsUnavailable."""
        with _reported(self._name):
            await self._writer.write(piece)

    async def finish(self) -> None:
        """Return when the object is stored; raise BlobsUnavailable."""
        with _reported(self._name):
            await self._writer.close()

    async def abandon(self) -> None:
        """Abort the upload; the bucket drops what was sent."""
        # An exception that leaves the writer's context aborts its upload.
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
        """Return the next piece, empty at the end; raise BlobsUnavailable."""
        with _reported(self._name):
            return await anext(self._pieces, b"")

    async def close(self) -> None:
        """Do nothing: the connection is closed when nothing refers to it."""
        del self._pieces


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        # The messages of such errors hold whole answers; their kind is enough.
        code = _code_of(error)
        # A missing bucket is "not found" too, and so is any path on a server other than S3.
        if code == _NO_KEY:
            raise BlobMissing(f"a file's bytes are missing in the {name}") from None
        raise BlobsUnavailable(f"the {name} can't be used ({code or type(error).__name__})") from None


def _code_of(error: Exception) -> str | None:
    """Return S3's error code; None where there is no answer, or one that isn't S3's."""
    found = _CODE.search(str(error))
    return None if found is None else found[1]
