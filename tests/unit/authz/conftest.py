"""Event loops and sockets that the tests of the transport run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine, on one kind of event loop after the other."""
    chosen: Callable[[Coroutine[Any, Any, None]], None] = request.param
    return chosen


@pytest.fixture(params=["unix", "tcp"])
def socket(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The path of a Unix socket, or None for TCP."""
    return tmp_path / "s" if request.param == "unix" else None
