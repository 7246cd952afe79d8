"""Rechecks of tokens that are about to end: they begin ahead of time, and renew or end the answer."""

from __future__ import annotations

import asyncio

import pytest

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.caching import CachingAuthenticator
from server.authn.limits import AHEAD_SECONDS, RECHECK_RETRY_SECONDS
from tests.support.patience import PATIENCE
from tests.support.scripted_validator import HOME, Clock, Scripted, turns


def test_the_last_good_answer_stands_during_a_recheck_and_not_beyond_its_time() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.hold("good")
        clock.seconds = 60 - AHEAD_SECONDS
        for _ in range(3):
            async with asyncio.timeout(PATIENCE):
                assert (await identity.authenticate("good", HOME)).id == "good"
            await turns()
        assert judge.asked == ["good", "good"], "one recheck for all"
        clock.seconds = 60.0
        late = asyncio.create_task(identity.authenticate("good", HOME))
        await turns()
        assert not late.done(), "the answer does not stand beyond its time"
        judge.release()
        assert (await late).id == "good"

    asyncio.run(scenario())


@pytest.mark.parametrize(("seconds", "due"), [(60.0, 50.0), (5.0, 2.5), (1.0, 0.5), (3600.0, 3590.0)])
def test_a_recheck_begins_shortly_before_the_end_and_renews_the_answer(seconds: float, due: float) -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, seconds, clock=clock)
        for moment, asked in ((0.0, 1), (due - 0.01, 1), (due, 2), (due + due - 0.01, 2), (2 * due, 3)):
            clock.seconds = moment
            await identity.authenticate("good", HOME)
            await turns()
            assert len(judge.asked) == asked, moment

    asyncio.run(scenario())


def test_a_recheck_that_says_no_ends_the_answer_at_once() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.revoked.add("good")
        clock.seconds = 51
        await identity.authenticate("good", HOME)
        await turns()
        clock.seconds = 52
        with pytest.raises(AuthenticationFailed, match="does not accept"):
            await identity.authenticate("good", HOME)
        assert len(judge.asked) == 2

    asyncio.run(scenario())


def test_a_recheck_that_fails_is_tried_again_and_the_answer_ends_with_its_time() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.is_down = True
        for moment, asked in ((50.0, 2), (50.5, 2), (50 + RECHECK_RETRY_SECONDS, 3), (59.9, 4)):
            clock.seconds = moment
            assert (await identity.authenticate("good", HOME)).id == "good"
            await turns()
            assert len(judge.asked) == asked
        clock.seconds = 60.0
        with pytest.raises(IdentityUnavailable):
            await identity.authenticate("good", HOME)
        judge.is_down = False
        assert (await identity.authenticate("good", HOME)).id == "good"

    asyncio.run(scenario())
