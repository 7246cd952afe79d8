"""A server with vector stores, on one database after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vector_server import Holding, holding


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Holding]:
    """The server, and nothing in it at first."""
    with holding(opa_binary, tmp_path_factory.mktemp("vectors"), postgres) as running:
        yield running
