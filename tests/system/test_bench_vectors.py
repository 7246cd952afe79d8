"""Searches of vector stores are measured in real indexes, and the table holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report import written_into
from bench.vectors import measure, taken
from bench.vectors.__main__ import BEGIN, END, USUAL, missed, report, run
from bench.vectors.measure import KINDS

PAGE = Path(__file__).parents[2] / "bench" / "vectors.md"


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_store_is_measured(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SETTLING", 0.0)
    monkeypatch.setattr(measure, "_SEARCHES", 20)
    found = run(kind, 2000)
    assert (found.kind, found.count, found.recall) == (kind, 2000, 1.0)
    assert 0 < found.p50 <= found.p99
    assert f"| `inline::{kind}`" in written_into(PAGE.read_text(), report([found], [], "a machine"), BEGIN, END)
    slow = replace(found, count=USUAL, p50=26.0, recall=0.9)
    assert [*missed(slow)] == [
        f"{kind}: 0.900 of what is nearest is found in 100,000",
        f"{kind}: half of the searches in 100,000 take up to 26 ms",
    ]
    assert [*missed(replace(slow, p50=25.0, recall=1.0, purged=60.0))] == []
    assert [*missed(replace(found, purged=61.0))] == [f"{kind}: a purge of 2,000 takes 61 s"]


def test_a_small_text_is_taken_in(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    monkeypatch.setattr(taken, "_ALONE_SECONDS", 0.2)
    found = taken.taken(0.02)
    assert (found.size, found.chunks) == (0.02, 26)
    assert found.rate > 0
    assert len(taken.row(found)) == len(taken.HEAD)
    assert "| 0.02 MB" in report([], [found], "a machine")
    good = replace(found, chunks=501, seconds=1.0, memory=100.0, alone=5.0, beside=55.0)
    assert [*taken.missed(good)] == []
    assert len([*taken.missed(replace(good, chunks=499, memory=101.0, beside=56.0))]) == 3
