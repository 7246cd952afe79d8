"""Buckets that can't be used: missing ones, stores that refuse, and servers that don't answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server.storage.blobs.bucket import BucketBlobs
from server.storage.blobs.store import BlobsUnavailable
from tests.support.blob_places import KEYS, check_unavailable, complaint, in_bucket, key, written
from tests.support.s3 import BUCKET


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
