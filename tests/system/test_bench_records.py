"""What records cost is measured against real servers that keep real records, and the tables hold it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from bench import tokens
from bench.measure import Measured, Slice
from bench.records import BEGIN, END, FEW, MANY, MILLION, WHOSE, Lists, Place, conversations, lists, report
from bench.report import written_into
from bench.results import BARE, OURS
from bench.uploads import Uploaded
from tests.support.databases import KINDS, empty_database

ROOT = Path(__file__).parent.parent.parent
UPLOADED = [
    Uploaded(0, 0, 0.0, 0.0, [0.001]),
    Uploaded(1, 100, 40.0, 1.0, [0.002]),
    Uploaded(64, 10, 50.0, 9.0, [0.03]),
]


@pytest.fixture
def where(opa_binary: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    # Short, since a Unix socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="bench-") as name, empty_database(postgres_url) as own:
        callers = tokens.make(2, 1)
        (Path(name) / "jwks.json").write_bytes(callers.jwks)
        yield Place(Path(name), callers, own)


def test_conversations_are_made_and_found(where: Place) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(conversations(where, 0.2, 1))
    assert all(one.median("rate") > 0 for name in ("create", "get") for one in found[name].values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whose", WHOSE)
def test_a_list_among_those_of_others_is_right_before_it_is_measured(where: Place, kind: str, whose: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(lists(where, kind, whose, [FEW, 100], 0.2, 1))
    assert all(measured.median("p50") > 0 for measured in found.by_others.values())


def test_the_tables_tell_each_number_with_its_goal_and_have_a_place_in_the_docs() -> None:
    by_others = {FEW: measured(2.0), MANY: measured(2.5), MILLION: measured(3.0)}
    listed = [Lists(kind, whose, by_others) for kind in KINDS for whose in WHOSE]
    talks = {name: {OURS: measured(p50), BARE: measured(1.0)} for name, p50 in (("create", 2.0), ("get", 1.0))}
    text = report(talks, listed, UPLOADED)
    rows = {tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines()}
    assert rows >= {
        ("create a conversation, 8 connections, one core for server and OPA together", "2,000/s", "≥ 1,500/s"),
        ("get a conversation, 8 connections, CPU against a bare server without records", "1.00x (1.00 to 1.00)", ""),
        ("list own files among 100,000 of others against 10, sqlite, p50", "1.25x", "≤ 1.5x"),
        ("list own files among 1,000,000 of others against 10, postgresql, p50", "1.50x", "≤ 2x"),
        ("list own-team files among 1,000,000 of others against 10, sqlite, p50", "1.50x", "≤ 2x"),
        ("memory by which the server grows for 100 MB", "1 MB", "constant"),
        ("health during 64 uploads, the slowest", "30.0 ms", "≤ 50 ms"),
    }
    page = (ROOT / "bench" / "performance.md").read_text()
    assert text in written_into(page, text, BEGIN, END)


def measured(p50: float) -> Measured:
    """With half a millisecond of processor time."""
    return Measured((Slice(0.25, 0.25, 100.0, p50, 2.0, 0.5, 0.0),))
