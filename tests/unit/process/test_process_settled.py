"""The state of the interpreter once a server has started."""

from __future__ import annotations

import gc
import sys

import pytest

from server.process.startup import SWITCH_SECONDS, settled


def test_a_thread_that_computes_soon_gives_the_lock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    before = sys.getswitchinterval()
    try:
        settled()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert before > SWITCH_SECONDS
    finally:
        sys.setswitchinterval(before)
