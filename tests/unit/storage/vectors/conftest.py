"""Fixtures for tests of the indexes of vectors."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.vector_indexes import KINDS, Opened, index_of, opened


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """An index of each kind that is open."""
    with opened(index_of(request.param, tmp_path_factory.mktemp(request.param))) as found:
        yield found


@pytest.fixture
def key() -> str:
    """The key of a store that no other test has."""
    return secrets.token_hex(16)
