"""Uploads that are slow, stand still or break off."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.api.files import upload
from server.http import json_body, protocol
from tests.support.callers import ALICE
from tests.support.files_server import BOUNDARY, FILES, Keeping, form_of, keeping
from tests.support.patience import PATIENCE
from tests.support.serving import drip_until_answered, parsed, until_closed

MOST = 200_000


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with keeping(opa_binary, tmp_path_factory.mktemp("pace")) as running:
        yield running


def begun(kept: Keeping, sent: bytes) -> socket.socket:
    """An upload of which so much has been sent."""
    connection = socket.create_connection((kept.house.address.host, kept.house.address.port), timeout=PATIENCE)
    head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\nContent-Length: {MOST}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


STARTED = form_of(b"y" * 190_000)[:100_000]


def test_whoever_goes_midway_leaves_nothing(clean: Keeping) -> None:
    connection = begun(clean, STARTED)
    connection.close()


def test_an_upload_that_stands_still_is_cut_off(clean: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "STALL_SECONDS", 0.3)
    with begun(clean, STARTED) as connection:
        answer = parsed(until_closed(connection))
    assert answer.status == 408
    assert answer.headers["connection"] == "close"


def test_an_upload_that_drips_is_cut_off(clean: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(upload, "SLOWEST", 1_000_000)
    # No other limit may end it: it never stands still, and the client would go on for long.
    monkeypatch.setattr(upload, "STALL_SECONDS", 60.0)
    monkeypatch.setattr(protocol, "STALL_SECONDS", 60.0)
    with begun(clean, STARTED[:1000]) as connection:
        drip_until_answered(connection, b"y")
        answer = parsed(until_closed(connection))
    assert (answer.status, answer.error["message"]) == (
        408,
        "the upload came too slowly, and nothing of it is kept",
    )


def test_an_upload_may_take_long_if_it_goes_on(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any body of JSON may take: the limit is one of pace."""
    monkeypatch.setattr(json_body, "BODY_SECONDS", 0.2)
    form = form_of(b"y" * 60_000)
    head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\nContent-Length: {len(form)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with socket.create_connection((kept.house.address.host, kept.house.address.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        for start in range(0, len(form), 5_000):
            connection.sendall(form[start : start + 5_000])
            time.sleep(0.05)
        answer = parsed(connection.recv(65536) + _rest(connection))
    assert answer.status == 200, answer.body


def _rest(connection: socket.socket) -> bytes:
    connection.shutdown(socket.SHUT_WR)
    return until_closed(connection)
