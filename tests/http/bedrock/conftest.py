"""One server in front of a stub of Bedrock for the tests of a module; it answers each test as at the beginning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.bedrock_server import Chatting, chatting


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    with chatting(tmp_path_factory.mktemp("bedrock")) as running:
        yield running


@pytest.fixture
def running(shared: Chatting) -> Chatting:
    shared.stub.renew()
    return shared
