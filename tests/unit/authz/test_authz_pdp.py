"""The decision point: what a good answer becomes, and what a dead OPA costs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from policy.vocabulary import Decision, StampOwner, Verdict
from server.authz.contract.answer import Answer, read_answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.opa.breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, SHORTEST_PAUSE, Breaker
from server.authz.opa.transport import UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from tests.support.broken_opa import (
    ALICE,
    BOTH,
    CREATE,
    PERMITTED,
    READ,
    Peer,
    answer,
    answering,
    decision,
    reply,
    scripted,
    stamp,
    transport_to,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_good_answer_becomes_decisions_with_everything_that_explains_them() -> None:
    body = answer(
        route=decision(effect="deny", rule=None, source=None, reason="no rule applies"),
        resource=decision(description="models for all"),
    )
    assert read_answer(body, BOTH) == Answer(
        "r1",
        Decision(Verdict.DENY, None, None, None, "no rule applies", "r1"),
        Decision(Verdict.PERMIT, "access_policy[0]", "config.yaml:41", "models for all", "the rule permits it", "r1"),
    )


def test_a_permitted_create_carries_the_caller_as_the_owner_to_stamp() -> None:
    answered = read_answer(answer(resource=decision(obligations=[stamp()])), CREATE)
    assert answered.resource is not None
    assert answered.resource.obligations == (StampOwner(ALICE),)


def test_a_denied_create_carries_no_obligation() -> None:
    answered = read_answer(answer(resource=decision(effect="deny")), CREATE)
    assert answered.resource is not None
    assert answered.resource.obligations == ()


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_trial_through_after_each_longer_pause() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(breaker.admit())
    pause = SHORTEST_PAUSE
    for _ in range(6):
        with pytest.raises(PolicyUnavailable) as caught:
            breaker.admit()
        assert caught.value.failure is Failure.BREAKER
        clock.now += pause
        assert breaker.admit() is True
        with pytest.raises(PolicyUnavailable):
            breaker.admit()
        breaker.failed(trial=True)
        pause = min(2 * pause, LONGEST_PAUSE)
    clock.now += pause
    assert breaker.admit() is True
    breaker.succeeded()
    assert breaker.admit() is False


def test_the_breaker_counts_failures_in_a_row_alone() -> None:
    breaker = Breaker(Clock())
    for _ in range(10):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.failed(breaker.admit())
        breaker.succeeded()


def test_questions_asked_before_the_breaker_opened_neither_prolong_the_pause_nor_end_the_trial() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(trial=False)
    clock.now += 0.9 * SHORTEST_PAUSE
    for _ in range(5):
        breaker.failed(trial=False)
    clock.now += 0.2 * SHORTEST_PAUSE
    assert breaker.admit() is True
    breaker.failed(trial=False)
    with pytest.raises(PolicyUnavailable):
        breaker.admit()


def test_a_breaker_that_has_closed_opens_again_as_it_did_at_first_and_counts_that() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for opening in (1, 2, 3):
        for _ in range(FAILURES_TO_OPEN):
            assert breaker.is_open is False
            breaker.failed(breaker.admit())
        assert (breaker.is_open, breaker.openings) == (True, opening)
        for pause in (SHORTEST_PAUSE, 2 * SHORTEST_PAUSE, 4 * SHORTEST_PAUSE):
            clock.now += 0.99 * pause
            with pytest.raises(PolicyUnavailable):
                breaker.admit()
            clock.now += 0.02 * pause
            breaker.failed(breaker.admit())
            assert breaker.openings == opening
        clock.now += LONGEST_PAUSE
        assert breaker.admit() is True
        breaker.succeeded()


def test_an_abandoned_trial_lets_the_next_question_be_one() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(trial=False)
    clock.now += SHORTEST_PAUSE
    breaker.abandoned(breaker.admit())
    assert breaker.admit() is True


async def mute(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.alone
def test_a_silent_opa_costs_three_deadlines_and_then_next_to_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(mute, tmp_path / "s") as peer, transport_to(peer.address, deadline=0.05) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            failures = []
            began = time.perf_counter()
            for _ in range(100):
                with pytest.raises(PolicyUnavailable) as caught:
                    await pdp.ask(READ)
                failures.append(caught.value.failure)
            assert failures == [Failure.DEADLINE] * 3 + [Failure.BREAKER] * 97
            assert time.perf_counter() - began < 1
            assert (pdp.questions, pdp.failures[Failure.DEADLINE], pdp.failures[Failure.BREAKER]) == (100, 3, 97)

    asyncio.run(main())


def test_a_trial_that_is_not_waited_for_any_more_does_not_keep_the_breaker_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(mute, tmp_path / "s") as peer, transport_to(peer.address, deadline=0.05) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            for _ in range(3):
                with pytest.raises(PolicyUnavailable):
                    await pdp.ask(READ)
            await asyncio.sleep(SHORTEST_PAUSE)
            trial = asyncio.create_task(pdp.ask(READ))
            await asyncio.sleep(0.01)
            trial.cancel()
            with pytest.raises(asyncio.CancelledError):
                await trial
            with pytest.raises(PolicyUnavailable) as caught:
                await pdp.ask(READ)
            assert caught.value.failure is Failure.DEADLINE

    asyncio.run(main())


def test_decisions_come_back_by_themselves_when_opa_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with transport_to(UnixAddress(tmp_path / "s")) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            for _ in range(5):
                with pytest.raises(PolicyUnavailable):
                    await pdp.ask(READ)
            async with scripted(answering(reply(PERMITTED)), tmp_path / "s"):
                await asyncio.sleep(SHORTEST_PAUSE)
                assert (await pdp.ask(READ)).revision == "r1"
                await pdp.ask(READ)

    asyncio.run(main())


def test_a_probe_passes_the_open_breaker_and_closes_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with transport_to(UnixAddress(tmp_path / "s")) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            for _ in range(5):
                with pytest.raises(PolicyUnavailable):
                    await pdp.ask(READ)
            async with scripted(answering(reply(PERMITTED)), tmp_path / "s"):
                await pdp.probe(READ)
                await pdp.ask(READ)
            assert pdp.questions == 6

    asyncio.run(main())


@pytest.mark.parametrize(
    ("odd", "failure"),
    [(reply(b"{}"), Failure.MALFORMED), (reply(b"{}", "500 Internal Server Error"), Failure.STATUS)],
)
def test_answers_that_break_the_contract_do_not_open_the_breaker(odd: bytes, failure: Failure, tmp_path: Path) -> None:
    async def main() -> None:
        times = 10
        async with (
            scripted(answering(odd), tmp_path / "s") as peer,
            transport_to(peer.address) as transport,
        ):
            pdp = PolicyDecisionPoint(transport, "r1")
            for _ in range(times):
                with pytest.raises(PolicyUnavailable):
                    await pdp.ask(READ)
            assert not pdp.breaker_open
            assert pdp.failures[failure] == times

    asyncio.run(main())
