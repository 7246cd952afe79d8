"""Servers that keep files and meet a full disk, or death: what is left, and what the next one makes of it."""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes

import pytest

from tests.support.databases import KINDS, backend, empty_database
from tests.support.files_process import files_server
from tests.support.files_server import BOUNDARY, FILES, Keeping, end_all_claims, form_of, is_tidy, wait_until
from tests.support.patience import PATIENCE
from tests.support.serving import Address

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
KIND = f"multipart/form-data; boundary={BOUNDARY}"

CONFIG = """
version: 2
apis: [inference]
storage:
  backends:
    sql: BACKEND
  stores:
    files: {backend: sql, table_name: files}
  blobs: {type: local, path: BLOBS}
"""


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeping]:
    """What is kept, without a server."""
    if request.param == "sqlite":
        yield Keeping(None, tmp_path / "blobs", "files", str(tmp_path / "files.db"))  # type: ignore[arg-type]
        return
    with empty_database(request.getfixturevalue("postgres_url")) as url:
        yield Keeping(None, tmp_path / "blobs", "files", url)  # type: ignore[arg-type]


def config_of(kept: Keeping) -> str:
    """The configuration of a server that keeps there."""
    return CONFIG.replace("BACKEND", backend(kept.database)).replace("BLOBS", str(kept.blobs))


@pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
def test_a_disk_that_is_really_full_is_one_clear_error(kept: Keeping) -> None:
    with files_server(config_of(kept), most_bytes=8_000_000) as (address, _):
        answer = address.post(FILES, form_of(b"x" * 12_000_000), kind=KIND)
        assert (answer.status, answer.error["code"]) == (507, "storage_full")
        assert answer.headers["x-should-retry"] == "false"
        assert kept.on_disk() == []
        assert address.post(FILES, form_of(b"x"), kind=KIND).status == 200
    assert is_tidy(kept)


@pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
def test_a_folder_that_becomes_a_file_is_one_clear_error(kept: Keeping) -> None:
    with files_server(config_of(kept)) as (address, _):
        shutil.rmtree(kept.blobs)
        kept.blobs.write_text("in the way")
        for _ in range(2):
            answer = address.post(FILES, form_of(b"x"), kind=KIND)
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        assert address.get("/v1/health").status == 200
        kept.blobs.unlink()
        assert address.post(FILES, form_of(b"x"), kind=KIND).status == 200


def test_a_server_that_is_killed_in_the_middle_of_an_upload_leaves_only_what_is_removed(kept: Keeping) -> None:
    config = config_of(kept)
    with files_server(config) as (address, process):
        done = address.post(FILES, form_of(b"done"), kind=KIND).json["id"]
        with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
            head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND}\r\nContent-Length: 5000000\r\n\r\n"
            connection.sendall(head.encode() + form_of(b"y" * 1_000_000)[:-30])
            wait_until(lambda: any(name.endswith(".part") for name in kept.on_disk()))
            process.kill()
            process.wait()
    assert [row[0] for row in kept.rows()] == [done]
    assert len(kept.on_disk()) == 2 and len(kept.rows("_claims")) == 1
    end_all_claims(kept)
    with files_server(config) as (address, _):
        wait_until(lambda: is_tidy(kept))
        assert address.get(f"{FILES}/{done}/content").body == b"done"


class Client:
    """Uploads and deletes until the server is gone, and remembers what it was told."""

    def __init__(self, address: Address, kept: dict[str, bytes], deleted: set[str], in_doubt: set[str]) -> None:
        self._address = address
        self._kept = kept
        self._deleted = deleted
        self._in_doubt = in_doubt

    def work(self) -> None:
        mine: list[str] = []
        with suppress(OSError, IndexError, ValueError):
            while True:
                content = token_bytes(random.randint(1, 400_000))  # noqa: S311 - no secret
                answer = self._address.post(FILES, form_of(content), kind=KIND)
                self._kept[answer.json["id"]] = content
                mine.append(answer.json["id"])
                if len(mine) % 3 == 0:
                    gone = mine.pop()
                    self._in_doubt.add(gone)
                    assert self._address.get(f"{FILES}/{gone}", method="DELETE").status == 200
                    self._deleted.add(gone)


@pytest.mark.timeout(600)
def test_a_server_that_is_killed_at_any_moment_loses_nothing_that_it_acknowledged(kept: Keeping) -> None:
    config = config_of(kept)
    contents: dict[str, bytes] = {}
    deleted: set[str] = set()
    in_doubt: set[str] = set()
    for _ in range(20 if NIGHTLY else 2):
        with files_server(config) as (address, process):
            clients = [Client(address, contents, deleted, in_doubt) for _ in range(4)]
            threads = [threading.Thread(target=client.work) for client in clients]
            for thread in threads:
                thread.start()
            wait_until(lambda: len(contents) >= 4)
            time.sleep(random.uniform(0.1, 0.6))  # noqa: S311 - any moment will do
            process.kill()
            for thread in threads:
                thread.join()
    end_all_claims(kept)
    with files_server(config) as (address, _):
        wait_until(lambda: is_tidy(kept))
        for identity, content in contents.items():
            answer = address.get(f"{FILES}/{identity}/content")
            if identity in deleted or (identity in in_doubt and answer.status == 404):
                assert answer.status == 404
            else:
                assert answer.body == content
        for identity, _ in kept.rows():
            assert address.get(f"{FILES}/{identity}/content").status == 200
