"""The policy engine of the laws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.opa_engine import LiveOpa


@pytest.fixture(scope="module")
def live(opa_binary: Path) -> Iterator[LiveOpa]:
    with LiveOpa(opa_binary) as opa:
        yield opa
