"""What holds of bytes wherever they are kept: in a directory, and in a bucket of a real server that speaks like S3."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_bytes, token_hex
from shutil import rmtree
from typing import TypeVar

import pytest
from pydantic import SecretStr

from server.storage.blobs.bucket import BucketBlobs
from server.storage.blobs.directory import DirectoryBlobs
from server.storage.blobs.store import PIECE, BlobMissing, Blobs, BlobsFull, BlobsUnavailable, BlobsUnusable
from tests.support.s3 import BUCKET, Bucket, running_s3

T = TypeVar("T")
KEYS = (SecretStr("k"), SecretStr("canary-of-s3"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_s3() as running:
        yield running


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
        pieces = [piece async for piece in _pieces(reading.read)]
        assert sum(map(len, pieces)) == reading.size
        return b"".join(pieces)
    finally:
        await reading.close()


async def _pieces(more: Callable[[], Awaitable[bytes]]):  # type: ignore[no-untyped-def]
    while piece := await more():
        yield piece


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
        rest = [piece async for piece in _pieces(reading.read)]
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


def test_a_bucket_that_is_not_served_is_unavailable_and_no_secret_is_told() -> None:
    async def scenario() -> list[str]:
        blobs = BucketBlobs(BUCKET, "p", "us-east-1", "http://127.0.0.1:9", KEYS)
        told = []
        for use in (lambda: written(blobs, key(), b"x"), lambda: blobs.open(key()), lambda: blobs.delete(key())):
            with pytest.raises(BlobsUnavailable) as caught:
                await use()
            told.append(str(caught.value))
        return told

    assert all("canary" not in sentence and BUCKET in sentence for sentence in asyncio.run(scenario()))


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
    return BucketBlobs(name, "p", "us-east-1", url, keys)


def test_a_bucket_that_does_not_exist_is_unavailable(bucket: Bucket) -> None:
    check_unavailable(in_bucket(bucket.url, "no-such-bucket"), word="(NoSuchBucket)")
    assert complaint(in_bucket(bucket.url, "no-such-bucket")) == (
        "there is no bucket `no-such-bucket`; make it, or correct `bucket` or `endpoint` in `storage.blobs`"
    )


def test_a_place_that_can_be_used_starts_and_stays_as_it_is(place: Place) -> None:
    place.run(lambda blobs: blobs.start())
    assert place.names() == []


class OddStore(BaseHTTPRequestHandler):
    """Answers every request with one refusal, as other stores and what stands before them do."""

    refusal = 500, b""

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        status, body = self.refusal
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def odd_store(status: int, body: str) -> Iterator[str]:
    handler = type("Odd", (OddStore,), {"refusal": (status, body.encode())})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def told(code: str) -> str:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>canary</Message><Key>NoSuchKey</Key></Error>'


@pytest.mark.parametrize(
    ("status", "body", "word", "sentence"),
    [
        (
            403,
            told("InvalidAccessKeyId"),
            "(InvalidAccessKeyId)",
            "doesn't accept the credentials (InvalidAccessKeyId)",
        ),
        (
            403,
            told("SignatureDoesNotMatch"),
            "(SignatureDoesNotMatch)",
            "correct `access_key_id` and `secret_access_key`",
        ),
        (400, told("ExpiredToken"), "(ExpiredToken)", "doesn't accept the credentials (ExpiredToken)"),
        (401, "", "", "something else answers there"),
        (403, "<html>forbidden</html>", "", "something else answers there"),
        (404, "<html>not here</html>", "", "something else answers there"),
        (404, "", "", "something else answers there"),
        (404, told("NoSuchBucket"), "(NoSuchBucket)", "there is no bucket `the-bucket`; make it"),
        (404, told("NoSuchUpload"), "(NoSuchUpload)", "can't be used (NoSuchUpload)"),
        (400, told("AuthorizationHeaderMalformed"), "(AuthorizationHeaderMalformed)", "is in another region"),
        (400, told("NotImplemented"), "(NotImplemented)", "can't be used (NotImplemented)"),
    ],
)
def test_a_store_that_refuses_is_unavailable_and_a_start_says_how(
    status: int, body: str, word: str, sentence: str
) -> None:
    with odd_store(status, body) as url:
        check_unavailable(in_bucket(url), word=word)
        assert sentence in complaint(in_bucket(url))


def test_a_bucket_that_may_not_be_listed_starts_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Where objects may not be listed, S3 says of a missing one that it may not be read."""
    with odd_store(403, told("AccessDenied")) as url:
        asyncio.run(in_bucket(url).start())
        asyncio.run(in_bucket(url).ping())
        check_unavailable(in_bucket(url), word="(AccessDenied)", pinged=False)
    (record,) = caplog.records
    assert record.getMessage().startswith("the bucket `the-bucket` doesn't say whether it may be used; ")


def test_a_bucket_that_is_not_served_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "or something else answers there; start it, or correct `endpoint` in `storage.blobs`"
    assert complaint(in_bucket("http://127.0.0.1:9")) == f"the bucket `the-bucket` can't be reached, {hint}"
    monkeypatch.setattr("server.storage.blobs.bucket._START_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "can't be reached" in complaint(in_bucket(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "or the service that has this machine's credentials, can't be reached" in (
        complaint(in_bucket("http://127.0.0.1:9", keys=None))
    )


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
