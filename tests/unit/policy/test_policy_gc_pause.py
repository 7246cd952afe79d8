"""The garbage collector rests while many objects are made, and wakes up again whatever happens."""

from __future__ import annotations

import gc
from contextlib import suppress

from policy.source.gc_pause import collector_at_rest


def test_the_collector_is_as_it_was_afterwards() -> None:
    assert gc.isenabled()
    with collector_at_rest():
        assert not gc.isenabled()
        with suppress(ValueError), collector_at_rest():
            raise ValueError
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_at_rest():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
