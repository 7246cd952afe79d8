"""Another revision is measured from a checkout of its own, which is removed, and the rows tell what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.against import _row, checkout
from bench.measure import Measured, Slice
from bench.processes import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of the repository")
def test_a_revision_is_checked_out_for_as_long_as_it_is_measured(tmp_path: Path) -> None:
    with checkout("HEAD", tmp_path / "other") as folder:
        assert (folder / "server" / "app.py").exists()
    assert not folder.exists()


def measured(*costs: float) -> Measured:
    return Measured(tuple(Slice(cost, 0.1, 100.0, 1.0, 2.0, 0.5, 0.0) for cost in costs))


def test_a_row_tells_the_difference_within_the_turns_and_that_of_the_least() -> None:
    row = _row("chat", {"here": measured(1.0, 0.34, 0.4), "there": measured(0.9, 0.3, 0.4)})
    assert row == ["chat", "0.400", "0.100", "0.400", "0.100", "+10.0%", "+5.0% to +10.0%", "+10.0%"]
