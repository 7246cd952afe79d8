"""Cores for processes: the server and its OPA have one, callers, database and upstream another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Let what is started in this context, and its descendants, run on that core alone, where there are several."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


SERVER = 0
CLIENTS = 1
