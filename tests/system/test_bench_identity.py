"""The measuring of callers and counters still measures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import identity


def test_every_cost_is_measured_and_not_one_unit_too_many_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_TIMES", 16)
    found = asyncio.run(identity.measured(tmp_path))
    assert len({name for name, _, _ in found}) == 5
    assert all(amount > 0 for _, amount, _ in found)
    assert found[-1][1] == identity.AT_ONCE // 2
