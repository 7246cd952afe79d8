"""Uploads of one caller that stand still: their memory is bounded, and the uploads of others go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from server.api.files import store
from server.storage.blobs.store import PIECE
from tests.support.callers import ALICE, BOB
from tests.support.files_server import BOUNDARY, FILES, Keeping, form_of, keeping, wait_until
from tests.support.patience import PATIENCE
from tests.support.serving import parsed

LARGE = 10_000_000
HELD = PIECE + store.READ_AHEAD
"""The memory that an upload of that length counts for."""


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with pytest.MonkeyPatch.context() as patch:
        few = replace(store.UPLOADS, capacity=4 * HELD, each=2 * HELD, waiting=2, waiting_each=1, seconds=0.3)
        patch.setattr(store, "UPLOADS", few)
        with keeping(opa_binary, tmp_path_factory.mktemp("room"), most="20MB") as running:
            yield running


def begun(kept: Keeping, length: str = f"Content-Length: {LARGE}") -> socket.socket:
    """An upload of alice's that stands still after its first piece."""
    connection = socket.create_connection((kept.house.address.host, kept.house.address.port), timeout=PATIENCE)
    head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\n{length}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    first = form_of(b"y" * (PIECE + 1000))[:-100]
    if length.startswith("Transfer"):
        first = b"%x\r\n%b\r\n" % (len(first), first)
    connection.sendall(head.encode() + first)
    return connection


@pytest.mark.parametrize("length", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
def test_uploads_that_stand_still_leave_no_room_for_more_of_their_caller(clean: Keeping, length: str) -> None:
    with ExitStack() as held:
        held.enter_context(begun(clean, length))
        held.enter_context(begun(clean, length))
        wait_until(lambda: len(clean.on_disk()) == 2)
        with begun(clean, length) as third:
            answer = parsed(third.recv(65536))
        assert (answer.status, answer.error["message"]) == (
            429,
            "your share of bytes of uploads is used up; try again in 1 s",
        )
        other = clean.kept(b"of another caller", BOB)
        assert clean.get(f"/{other}", BOB, "DELETE").status == 200
    # What they held is there again once they have gone.
    wait_until(lambda: not clean.on_disk())
    again = clean.kept(b"z" * 2 * HELD)
    assert clean.get(f"/{again}", method="DELETE").status == 200


def test_a_small_upload_counts_for_what_it_has(clean: Keeping) -> None:
    with begun(clean):
        wait_until(lambda: bool(clean.on_disk()))
        assert clean.get(f"/{clean.kept(b'small')}", method="DELETE").status == 200
    wait_until(lambda: not clean.on_disk())
