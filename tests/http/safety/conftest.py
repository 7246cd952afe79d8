"""The running server with shields, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.safety_server import Guarded, guarded


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The server, for all tests of a module."""
    with guarded(opa_binary, tmp_path_factory.mktemp("safety")) as server:
        yield server


@pytest.fixture
def server(running: Guarded) -> Guarded:
    """The server, whose models have been asked nothing yet."""
    running.judge.renew()
    running.stub.renew()
    return running
