"""Set-ups that tests of several resources share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.application import house
from tests.support.recording_provider import Listening
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> str | None:
    """The address of PostgreSQL, or None for SQLite: a module runs on one after the other."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def enforcement() -> UnsafePermitAll:
    """The fake enforcement point of `address`, which keeps what it is asked."""
    return UnsafePermitAll()


@pytest.fixture(scope="module")
def provider() -> Listening:
    """A provider that keeps what it is sent."""
    return Listening()


@pytest.fixture(scope="module")
def address(enforcement: UnsafePermitAll) -> Iterator[Address]:
    """A server that permits everything, for tests about something else than decisions."""
    with serving(house(enforcement=enforcement)) as running:
        yield running


@pytest.fixture
def nothing_asked(enforcement: UnsafePermitAll, provider: Listening) -> None:
    """Forget what earlier tests of the module have asked."""
    enforcement.asked.clear()
    provider.asked.clear()
