"""`docs/api/what-is-kept.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.api.files import blob_leases, filenames, routes, sweeper, upload
from server.config.storage import StorageConfig
from server.http import multipart
from server.storage.blobs import bucket

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api" / "what-is-kept.md").read_text()
KB, MB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        (
            "the file",
            f"1 byte to `storage.max_file_bytes` ({StorageConfig().max_file_bytes // MB} MB unless configured)",
        ),
        ("everything else in the form", f"{upload.FORM_BYTES // KB} KB"),
        ("a part's head", f"{multipart.MOST_HEADERS} headers of {multipart.LONGEST_HEADER // KB} KB"),
        ("a client that sends nothing", f"{upload.STALL_SECONDS:.0f} s"),
        (
            "a client that sends little",
            f"{upload.SLOWEST // KB} KB a second on average, after the first {upload.GRACE_SECONDS:.0f} s",
        ),
    ],
)
def test_a_limit_is_documented_as_it_is(what: str, limit: str) -> None:
    assert re.search(rf"^\| {re.escape(what)} \| {re.escape(limit)} \|", PAGE, re.MULTILINE)


def test_other_numbers_and_names_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"(RFC 2047) | {filenames.LONGEST_NAME} characters" in text
    assert f"({upload.LEAST_LIFETIME} to {upload.MOST_LIFETIME})" in text
    assert all(f"`{purpose}`" in text for purpose in upload.PURPOSES)
    assert f"with a bucket, up to {2 * bucket._PART // MB} MB" in text
    assert blob_leases.LEASE_SECONDS + 1.25 * sweeper.SWEEP_SECONDS <= 6.5 * 60 and "within about six minutes" in text
    assert len(routes._HARMLESS) == 11
