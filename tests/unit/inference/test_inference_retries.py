"""Further attempts at a connection: only where nothing was sent, few, and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from server.inference.provider import Kind, ProviderFailed
from server.inference.providers import retries
from server.inference.providers.refusals import broken
from server.inference.providers.retries import retried
from tests.support.provider_refusals import provider_refusal

UNSENT = broken("p", "could not be reached", spent=False, kind=Kind.UNREACHABLE)
SENT = broken("p", "could not be reached", kind=Kind.UNREACHABLE)
LATE = broken("p", "did not answer in time", kind=Kind.SILENT)
BUSY = provider_refusal("p", 503, {}, b"")


class Asked:
    """Fails in these ways, one after another, and then answers."""

    def __init__(self, failures: Sequence[ProviderFailed]) -> None:
        self.failures = [*failures]
        self.times = 0

    async def __call__(self) -> str:
        self.times += 1
        if self.failures:
            raise self.failures.pop(0)
        return "yes"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize(("failures", "times"), [([], 1), ([UNSENT], 2), ([UNSENT, UNSENT], 3)])
def test_a_connection_that_can_be_made_at_last_serves_the_request(failures: list[ProviderFailed], times: int) -> None:
    asked = Asked(failures)
    assert asyncio.run(retried(asked, 2)) == "yes"
    assert asked.times == times


@pytest.mark.parametrize("failure", [SENT, LATE, BUSY], ids=["cut", "silent", "status"])
def test_what_may_have_arrived_is_not_sent_again(failure: ProviderFailed) -> None:
    asked = Asked([failure])
    with pytest.raises(ProviderFailed):
        asyncio.run(retried(asked, 5))
    assert asked.times == 1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_there_are_so_many_attempts_and_no_more(most: int) -> None:
    asked = Asked([UNSENT] * 10)
    with pytest.raises(ProviderFailed):
        asyncio.run(retried(asked, most))
    assert asked.times == most + 1


def test_no_attempt_is_made_when_the_first_one_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.0)
    asked = Asked([UNSENT])
    with pytest.raises(ProviderFailed):
        asyncio.run(retried(asked, 5))
    assert asked.times == 1
