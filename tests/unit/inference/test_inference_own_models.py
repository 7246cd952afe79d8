"""The list that a provider gives of its models: asked for once by all who want it, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from server.fairness.caller import CURRENT, SERVER
from server.inference.own_models import FAILED_SECONDS, KEPT_SECONDS, KeptModels
from server.inference.provider import ProviderFailed
from server.inference.providers.refusals import broken


class Asked:
    """A provider that answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.times = 0
        self.fails = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.kept = KeptModels(self.ask, lambda: self.now)

    async def ask(self) -> Sequence[str]:
        """Answer, or fail."""
        self.times += 1
        assert CURRENT.get() == SERVER
        await self.go_on.wait()
        if self.fails:
            raise broken("p", "could not be reached")
        return [f"m{self.times}"]


def run(test: Coroutine[Any, Any, None]) -> None:
    CURRENT.set(("principal", "i", "alice"))
    asyncio.run(asyncio.wait_for(test, 10))


def test_a_list_is_kept_for_a_while() -> None:
    async def kept() -> None:
        asked = Asked()
        assert [await asked.kept.models() for _ in range(3)] == [["m1"]] * 3
        asked.now += KEPT_SECONDS
        assert await asked.kept.models() == ["m2"]

    run(kept())


def test_all_who_want_it_at_once_share_one_request() -> None:
    async def shared() -> None:
        asked = Asked()
        asked.go_on.clear()
        waiting = [asyncio.create_task(asked.kept.models()) for _ in range(20)]
        await asyncio.sleep(0)
        # One that gives up takes it from no other.
        waiting.pop(0).cancel()
        asked.go_on.set()
        assert await asyncio.gather(*waiting) == [["m1"]] * 19
        assert asked.times == 1

    run(shared())


def test_a_failure_is_kept_for_moments() -> None:
    async def failing() -> None:
        asked = Asked()
        asked.fails = True
        for _ in range(3):
            with pytest.raises(ProviderFailed):
                await asked.kept.models()
        assert asked.times == 1
        asked.fails = False
        asked.now += FAILED_SECONDS
        assert await asked.kept.models() == ["m2"]

    run(failing())
