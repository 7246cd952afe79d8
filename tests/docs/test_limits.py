"""`docs/operate/limits.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.http import edge, json_body, protocol
from server.json_input import reader, strict, worker

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operate" / "limits.md").read_text()
MB = 1024 * 1024


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("path", f"{edge.MAX_PATH // 1024} KB, as sent"),
        (
            "headers and query together",
            f"{edge.MAX_HEADERS // 1024} KB, "
            f"at most {protocol.MAX_HEADER_LINES} headers and {edge.MAX_PARAMETERS} parameters",
        ),
        ("time for a request's head, and from connecting to the first one", f"{protocol.HEAD_SECONDS:.0f} s"),
        ("requests sent at once on one connection, ahead of their answers", f"{protocol.MAX_PIPELINED}"),
        ("JSON body", f"{json_body.MAX_BODY // MB} MB"),
        ("time to send a body", f"{json_body.BODY_SECONDS:.0f} s"),
        ("arrays and objects inside each other", f"{strict.MAX_DEPTH} levels"),
        ("memory to read a body", f"{worker.MEMORY // MB} MB"),
        (
            "large bodies read at the same time, and waiting for it",
            f"{reader.PROCESSES}, {reader.MAX_WAITING // MB} MB",
        ),
        ("time to read a body", f"{reader.READ_SECONDS:.0f} s"),
        (
            "a body that goes on after its request was answered",
            f"{protocol.MAX_UNREAD // MB} MB, {protocol.UNREAD_SECONDS:.0f} s",
        ),
        (
            "bytes in a row that belong to nothing (extensions of chunks, trailers, empty lines)",
            f"{protocol.MAX_FRAMING // 1024} KB",
        ),
        ("a client that does not read its answer", f"{protocol.STALL_SECONDS:.0f} s"),
    ],
)
def test_a_limit_is_documented_as_it_is(what: str, limit: str) -> None:
    assert re.search(rf"^\| {re.escape(what)} \| {re.escape(limit)} \|", PAGE, re.MULTILINE)


def test_what_counts_as_a_large_body_is_documented() -> None:
    assert f"A body of {reader.LARGE // 1024} KB or more is large" in PAGE
