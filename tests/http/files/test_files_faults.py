"""What goes wrong under files: disks, databases, buckets, the server's own death. Nothing is half there afterwards."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest

from server.api.files import blob_leases, store, sweeper
from server.fairness.shares import NoRoom
from server.storage.blobs import directory
from server.storage.database.database import DatabaseUnavailable
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records.table import RecordTable
from tests.support.callers import ALICE
from tests.support.files_server import (
    BOUNDARY,
    FILES,
    Keeping,
    end_all_claims,
    form_of,
    is_tidy,
    keeping,
    wait_until,
    wait_until_tidy,
)
from tests.support.patience import PATIENCE
from tests.support.s3 import running_s3
from tests.support.serving import Answer

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
KIND = f"multipart/form-data; boundary={BOUNDARY}"
CONTENT = b"z" * 190_000


@pytest.fixture(autouse=True, scope="module")
def restless_janitor() -> Iterator[None]:
    """The janitor looks all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeper, "SWEEP_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Keeping]:
    with keeping(opa_binary, tmp_path_factory.mktemp("faults"), postgres) as running:
        yield running


class Failing:
    """Fails the n-th call of what it stands before."""

    def __init__(self, number: int, fault: Exception) -> None:
        self.calls = 0
        self._number = number
        self._fault = fault

    def count(self) -> None:
        self.calls += 1
        if self.calls == self._number:
            raise self._fault


@pytest.mark.parametrize("step", ["create", "write", "finish"])
@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.ENOSPC, 507, "storage_full"),
        (errno.EDQUOT, 507, "storage_full"),
        (errno.EROFS, 503, "storage_unavailable"),
        (errno.EIO, 503, "storage_unavailable"),
    ],
)
def test_a_disk_that_refuses_is_one_clear_error(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch, step: str, number: int, status: int, code: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    before = kept.on_disk()
    with monkeypatch.context() as patch:
        patch.setattr(directory._Output, step, refuse)
        answer = kept.upload(form_of(CONTENT))
    assert (answer.status, answer.error["code"]) == (status, code)
    assert kept.on_disk() == before
    wait_until_tidy(kept)
    assert kept.upload(form_of(b"x")).status == 200


@pytest.mark.parametrize("number", range(1, 5))
def test_a_write_that_fails_at_any_place_leaves_nothing(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing, write = Failing(number, OSError(errno.ENOSPC, "")), os.write

    def refuse(descriptor: int, piece: memoryview) -> int:
        if not threading.current_thread().name.startswith("blobs"):
            return write(descriptor, piece)  # the decision log writes too
        failing.count()
        return write(descriptor, piece[:50_000])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        assert kept.upload(form_of(CONTENT)).status == 507
    assert failing.calls == number
    assert is_tidy(kept)


def test_a_disk_that_takes_little_at_a_time_gets_everything(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, piece: write(descriptor, piece[:1000]))
        made = kept.kept(CONTENT)
    assert kept.get(f"/{made}/content").body == CONTENT


SCENARIOS: dict[str, Callable[[Keeping, str], Answer]] = {
    "upload": lambda kept, _: kept.upload(form_of(CONTENT)),
    "get": lambda kept, made: kept.get(f"/{made}"),
    "content": lambda kept, made: kept.get(f"/{made}/content"),
    "list": lambda kept, made: kept.get(f"?after={made}"),
    "delete": lambda kept, made: kept.get(f"/{made}", method="DELETE"),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("moment", ["before", "after", "full"])
def test_a_database_that_fails_at_any_call_leaves_nothing_half_done(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch, scenario: str, moment: str
) -> None:
    """`after` is the worst: what was written is written, and no one is told. `full` is a share that stays used up."""
    failed = [_failed_once(kept, monkeypatch, scenario, moment, number) for number in range(1, 5)]
    assert any(status == 503 for _, status in failed)
    wait_until_tidy(kept)
    for made, status in failed:
        there = kept.get(f"/{made}/content")
        if scenario == "delete" and moment != "after":
            assert (there.status == 404) is (status == 200), "a refused deletion has deleted nothing"
        assert there.body == b"hello" if there.status == 200 else (scenario, there.status) == ("delete", 404)
    for identity, _ in kept.rows():
        assert kept.get(f"/{identity}/content").status == 200


def _failed_once(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch, scenario: str, moment: str, number: int
) -> tuple[str, int]:
    """A file, and the status of what was done to it while the call of that number failed."""
    made = kept.kept()
    fault, code = DatabaseUnavailable("the test says so"), "storage_unavailable"
    if moment == "full":
        fault, code = NoRoom("reads of records", of_caller=False), "server_busy"
    failing = Failing(number, fault)
    kind = PostgresDatabase if kept.database.startswith("postgresql:") else SqliteDatabase
    read, write = kind.read, kind.write

    async def failing_read(self: Any, statement: str, *values: Any) -> Any:
        if "expires_at <=" not in statement:  # the janitor's own question
            failing.count()
        return await read(self, statement, *values)

    async def failing_write(self: Any, *steps: Any) -> None:
        if moment != "after":
            failing.count()
        await write(self, *steps)
        if moment == "after":
            failing.count()

    with monkeypatch.context() as patch:
        patch.setattr(kind, "read", failing_read)
        patch.setattr(kind, "write", failing_write)
        answer = SCENARIOS[scenario](kept, made)
    if answer.status != 200:
        assert (answer.status, answer.error["code"]) == (503, code)
    return made, answer.status


def test_bytes_that_are_gone_are_an_error_of_ours(kept: Keeping) -> None:
    missing, cut = kept.kept(), kept.kept()
    for path in kept.blobs.rglob("file-*"):
        if path.name == missing:
            path.unlink()
        elif path.name == cut:
            path.write_bytes(b"h")
    for identity in (missing, cut):
        answer = kept.get(f"/{identity}/content")
        assert (answer.status, answer.error["code"]) == (500, "server_error")
        assert kept.get(f"/{identity}", method="DELETE").status == 200
    wait_until_tidy(kept)


def test_a_file_that_is_deleted_while_somebody_fetches_it_is_a_missing_one(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, opened = kept.kept(), directory._Source.open

    def late(source: Any) -> None:
        assert kept.get(f"/{made}", method="DELETE").status == 200
        opened(source)

    with monkeypatch.context() as patch:
        patch.setattr(directory._Source, "open", late)
        assert kept.get(f"/{made}/content").status == 404


def test_the_janitor_takes_files_whose_time_is_over(kept: Keeping) -> None:
    over, lasting = kept.kept(expires_after="3600"), kept.kept(expires_after="3600")
    kept.run(f"UPDATE {kept.table} SET expires_at = created_at WHERE id = '{over}'")  # noqa: S608 - the test's own
    wait_until(lambda: over not in kept.on_disk())
    wait_until_tidy(kept)
    assert kept.get(f"/{lasting}/content").status == 200


def test_the_janitor_goes_on_after_a_search_for_which_there_was_no_room(
    kept: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, expired = Failing(1, NoRoom("reads of records", of_caller=False)), RecordTable.expired

    async def without_room(self: RecordTable, now: int, limit: int) -> list[str]:
        if self.name == kept.table:  # other tables are swept, too
            failing.count()
        return await expired(self, now, limit)

    with monkeypatch.context() as patch:
        patch.setattr(RecordTable, "expired", without_room)
        wait_until(lambda: failing.calls > 1)


def test_an_upload_that_goes_on_is_safe_from_the_janitor(kept: Keeping) -> None:
    """It lasts longer than a claim, and pieces come often enough to renew it."""
    form = form_of(CONTENT)
    head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\nContent-Type: {KIND}\r\nContent-Length: {len(form)}\r\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blob_leases, "LEASE_SECONDS", 3)
        patch.setattr(store, "RENEWAL_SECONDS", 0.2)
        patch.setattr(store, "PIECE", 10_000)
        with socket.create_connection(
            (kept.house.address.host, kept.house.address.port), timeout=PATIENCE
        ) as connection:
            connection.sendall(head.encode() + b"Connection: close\r\n\r\n")
            for start in range(0, len(form), 10_000):
                connection.sendall(form[start : start + 10_000])
                time.sleep(0.2)
            assert b" 200 " in connection.recv(65536)[:20]
    assert is_tidy(kept)


def test_an_upload_that_lost_its_claim_is_not_kept(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = directory._Output.finish

    def late(output: Any) -> None:
        end_all_claims(kept)
        wait_until(lambda: kept.rows("_claims") == [])
        finish(output)

    with monkeypatch.context() as patch:
        patch.setattr(directory._Output, "finish", late)
        answer = kept.upload(form_of(CONTENT))
    assert (answer.status, answer.error["code"]) in ((503, "storage_unavailable"), (500, "server_error"))
    assert is_tidy(kept)


def test_files_in_a_bucket_do_all_that_files_do(opa_binary: Path, tmp_path: Path) -> None:
    with running_s3() as bucket, keeping(opa_binary, tmp_path, blobs=bucket.config("one"), most="20MB") as kept:
        large = token_bytes(9_000_000)
        made = [kept.kept(b"hello"), kept.kept(large)]
        assert bucket.names() == sorted(f"one/{identity}" for identity in made)
        assert [kept.get(f"/{identity}/content").body for identity in made] == [b"hello", large]
        assert kept.get(f"/{made[1]}", method="DELETE").status == 200
        assert kept.upload(form_of(large)[:-10]).status == 400
        assert (bucket.names(), kept.rows("_claims")) == ([f"one/{made[0]}"], [])
        bucket.process.kill()
        bucket.process.wait()
        for answer in (kept.upload(form_of(b"x")), kept.get(f"/{made[0]}/content")):
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
            assert b"canary" not in answer.body
        assert kept.get(f"/{made[0]}").status == 200


def test_a_bucket_that_has_gone_is_unavailable_and_nothing_is_called_missing(opa_binary: Path, tmp_path: Path) -> None:
    with running_s3() as bucket, keeping(opa_binary, tmp_path, blobs=bucket.config("one"), most="20MB") as kept:
        made = kept.kept(b"hello")
        bucket.remove()
        large = form_of(token_bytes(9_000_000))
        for answer in (kept.upload(form_of(b"x")), kept.upload(large), kept.get(f"/{made}/content")):
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
            assert answer.headers["retry-after"]
        assert kept.get(f"/{made}").status == 200
        assert [identity for identity, _ in kept.rows()] == [made]
