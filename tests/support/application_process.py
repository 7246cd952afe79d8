"""The application in a process of its own, for tests that measure it: prints its port, and serves until it is ended."""

from __future__ import annotations

import sys

from tests.support.application import house
from tests.support.serving import serving

if __name__ == "__main__":
    with serving(house()) as address:
        print(address.port, flush=True)  # noqa: T201 - read by the test
        sys.stdin.read()
