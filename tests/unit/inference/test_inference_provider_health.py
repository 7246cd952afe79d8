"""The health of a provider: it is asked for once, and again after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from server.inference.provider import HealthStatus
from tests.support.failing_provider import Upstream, upstream
from tests.support.openai_provider import provider


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture
def server(running: Upstream) -> Upstream:
    running.forget()
    return running


def test_health_is_asked_for_once_however_many_want_to_know(server: Upstream) -> None:
    async def run() -> set[HealthStatus]:
        async with provider(server) as made:
            return {health.status for health in await asyncio.gather(*(made.health() for _ in range(10)))}

    assert asyncio.run(run()) == {HealthStatus.OK}
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


def test_health_is_asked_for_again_after_a_while(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.inference.providers import openai_compatible as module

    monkeypatch.setattr(module, "HEALTH_SECONDS", 0.1)

    async def run() -> None:
        async with provider(server) as made:
            for _ in range(3):
                await made.health()
            await asyncio.sleep(0.15)
            await made.health()

    asyncio.run(run())
    assert [path for path, _, _ in server.asked] == ["/v1/models", "/v1/models"]


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (204, False), (301, False), (401, False), (404, False), (500, False)]
)
def test_only_a_list_of_models_is_a_sign_of_health(server: Upstream, status: int, well: bool) -> None:
    async def run() -> tuple[HealthStatus, str]:
        async with provider(server) as made:
            health = await made.health()
            return health.status, health.message

    server.health = status
    wanted = (HealthStatus.OK, "") if well else (HealthStatus.ERROR, f"it answers with status {status}")
    assert asyncio.run(run()) == wanted
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


def test_a_provider_that_is_not_there_is_not_well() -> None:
    async def run() -> tuple[HealthStatus, str]:
        async with provider(Upstream(url="http://127.0.0.1:9")) as made:
            health = await made.health()
            return health.status, health.message

    assert asyncio.run(run()) == (HealthStatus.ERROR, "it can't be reached")
