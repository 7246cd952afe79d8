"""A pause of the garbage collector while many objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Disable the garbage collector for the time of a `with` block or a decorated call.

    For work that makes many objects and no cycles: for a policy of ten thousand rules the collector would take as long
    as the work itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
