"""The state of the interpreter once a server has started."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from server.process.startup import COLLECT_AFTER, SWITCH_SECONDS, settled


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have what a server changes as it was before, at the end."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("interpreter")
def test_a_thread_that_computes_soon_gives_the_lock_back() -> None:
    before = sys.getswitchinterval()
    settled()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert before > SWITCH_SECONDS


@pytest.mark.usefixtures("interpreter")
def test_the_collector_does_not_look_at_each_request() -> None:
    settled()
    assert gc.get_threshold()[0] == COLLECT_AFTER > 700
    assert gc.isenabled()
