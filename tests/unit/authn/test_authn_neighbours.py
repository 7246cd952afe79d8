"""The cost of one caller's tokens to others: known tokens come first, and floods are bounded by address."""

from __future__ import annotations

import asyncio

import pytest

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, caching, limits
from server.authn.caching import CachingAuthenticator
from server.authn.limits import UNKNOWN
from server.fairness.caller import CURRENT
from server.fairness.remembered import bytes_of
from tests.support.patience import PATIENCE
from tests.support.scripted_validator import FLOOD, HOME, Clock, Scripted, outcome, turns


def test_unknown_tokens_keep_neither_a_known_one_nor_another_address_waiting() -> None:
    async def scenario() -> None:
        judge, clock, many = Scripted(), Clock(), UNKNOWN.each + UNKNOWN.waiting_each + 100
        judge.hold("made-up")
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        clock.seconds = 100.0
        flood = [asyncio.create_task(identity.authenticate(f"made-up-{number}", FLOOD)) for number in range(many)]
        await turns()
        assert judge.at_once == UNKNOWN.each
        async with asyncio.timeout(PATIENCE):
            assert (await identity.authenticate("good", FLOOD)).id == "good"
            assert (await identity.authenticate("good-2", HOME)).id == "good"
        refused = [task for task in flood if task.done()]
        assert len(refused) == 100
        assert {await outcome(task) for task in refused} == {"NoRoom"}
        judge.release()
        assert {await outcome(task) for task in flood} == {"NoRoom", "AuthenticationFailed"}
        assert judge.most <= UNKNOWN.each + 1

    asyncio.run(scenario())


def test_the_caller_of_the_request_counts_and_not_the_proxy_it_comes_through() -> None:
    async def scenario() -> None:
        judge = Scripted()
        judge.hold("made-up")
        identity = CachingAuthenticator(judge, 60)

        async def through_proxy(token: str, address: str) -> Principal:
            CURRENT.set(("address", address))
            return await identity.authenticate(token, FLOOD)

        flood = [asyncio.create_task(through_proxy(f"made-up-{number}", "192.0.2.9")) for number in range(100)]
        await turns()
        async with asyncio.timeout(PATIENCE):
            assert (await asyncio.create_task(through_proxy("good", "192.0.2.10"))).id == "good"
        judge.release()
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(scenario())


def test_without_a_cache_a_token_that_was_accepted_before_is_known_all_the_same() -> None:
    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 0)
        await identity.authenticate("good", FLOOD)
        judge.hold("made-up")
        flood = [asyncio.create_task(identity.authenticate(f"made-up-{number}", FLOOD)) for number in range(100)]
        await turns()
        async with asyncio.timeout(PATIENCE):
            assert (await identity.authenticate("good", FLOOD)).id == "good"
        judge.release()
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(scenario())


def test_a_principal_with_many_tokens_drops_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_REMEMBERED", 10)

    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 60)
        await identity.authenticate("good", HOME)
        for number in range(50):
            await identity.authenticate(f"good2-{number}", FLOOD)
        await identity.authenticate("good", HOME)
        assert judge.asked.count("good") == 1

    asyncio.run(scenario())


def test_a_principal_with_large_answers_drops_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    one = bytes_of(Principal("good", "service"))
    monkeypatch.setattr(caching, "MAX_REMEMBERED_BYTES", 10 * one)

    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 60)
        await identity.authenticate("good", HOME)
        for number in range(50):
            await identity.authenticate(f"good2-{number}", FLOOD)
        await identity.authenticate("good", HOME)
        await identity.authenticate("good2-0", FLOOD)
        assert (judge.asked.count("good"), judge.asked.count("good2-0")) == (1, 2)

    asyncio.run(scenario())


def test_refused_tokens_of_one_address_drop_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_REMEMBERED", 10)

    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 60)
        for token, request in (("bad", HOME), *((f"made-up-{number}", FLOOD) for number in range(50)), ("bad", HOME)):
            with pytest.raises(AuthenticationFailed):
                await identity.authenticate(token, request)
        assert judge.asked.count("bad") == 1

    asyncio.run(scenario())


def test_a_flood_of_failures_writes_few_warnings(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        judge, clock = Scripted(is_down=True), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        for number in range(500):
            clock.seconds += 0.01
            assert await outcome(identity.authenticate(f"any-{number}", FLOOD)) == "IdentityUnavailable"

    asyncio.run(scenario())
    said = [record for record in caplog.records if "could not be asked" in record.message]
    assert limits.WARNINGS <= len(said) <= limits.WARNINGS + 6
