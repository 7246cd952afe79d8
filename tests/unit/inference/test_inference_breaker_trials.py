"""Trials of a circuit breaker that is open: one request at a time, and what each outcome means."""

from __future__ import annotations

from server.inference.breaker import AGAIN_SECONDS, SOON_SECONDS, TRIAL_SECONDS, BreakerState
from tests.support.clocked_breaker import ALICE, BOB, CAROL, PAUSE, UNREACHED, Clocked, status


def test_one_request_tries_it_after_the_pause() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    assert clocked.breaker.state is BreakerState.HALF_OPEN
    trial = clocked.breaker.enter(ALICE)
    assert trial
    refusal = clocked.refused(BOB)
    assert refusal is not None
    assert refusal.retry_after == 1.0
    clocked.breaker.worked(ALICE, is_trial=trial)
    assert clocked.breaker.state is BreakerState.CLOSED
    assert not clocked.breaker.enter(BOB)


def test_a_trial_that_fails_opens_it_again() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    clocked.fail(BOB, failure=UNREACHED)
    refusal = clocked.refused(ALICE)
    assert refusal is not None
    assert refusal.retry_after == PAUSE


def test_a_trial_that_its_caller_may_have_spoilt_opens_it_for_that_caller_until_others_fail_too() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    for caller in (ALICE, BOB):
        clocked.fail(caller)
        refusal = clocked.refused(caller)
        assert refusal is not None
        assert clocked.breaker.state is BreakerState.HALF_OPEN
        clocked.now += SOON_SECONDS
        assert clocked.refused(caller) is not None
        assert clocked.refused(CAROL) is None
    clocked.fail(CAROL)
    assert clocked.breaker.state is BreakerState.HALF_OPEN
    assert clocked.breaker.suspects
    clocked.breaker.probed(is_away=True)
    assert (clocked.breaker.state, clocked.breaker.openings) == (BreakerState.OPEN, 1)


def test_no_caller_keeps_others_from_trying() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    # However a trial ends, and if it doesn't end, its caller has to wait longer than the others.
    clocked.breaker.left(ALICE, is_trial=clocked.breaker.enter(ALICE))
    assert clocked.refused(ALICE) is not None
    assert clocked.breaker.enter(BOB)
    clocked.now += TRIAL_SECONDS
    assert clocked.refused(BOB) is not None
    assert clocked.breaker.enter(CAROL)
    clocked.now += AGAIN_SECONDS
    assert clocked.breaker.enter(ALICE)
    clocked.breaker.worked(ALICE, is_trial=True)
    assert not clocked.breaker.enter(ALICE)


def test_a_trial_that_is_refused_as_a_bad_request_closes_it() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    clocked.fail(BOB, failure=status(400))
    assert clocked.breaker.state is BreakerState.CLOSED


def test_a_trial_that_is_given_up_leaves_room_for_another() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    clocked.breaker.left(BOB, is_trial=clocked.breaker.enter(BOB))
    assert clocked.breaker.state is BreakerState.HALF_OPEN
    assert clocked.breaker.enter(CAROL)


def test_a_trial_that_takes_long_keeps_others_out_for_moments_only() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.now += PAUSE
    assert clocked.breaker.enter(BOB)
    clocked.now += TRIAL_SECONDS
    assert clocked.breaker.enter(CAROL)


def test_what_was_asked_before_it_opened_says_nothing_about_the_time_since() -> None:
    clocked = Clocked()
    begun = clocked.breaker.enter(ALICE)
    clocked.fail(*[BOB] * 5, failure=UNREACHED)
    clocked.breaker.worked(ALICE, is_trial=begun)
    assert clocked.breaker.state is BreakerState.OPEN
    clocked.now += 1
    clocked.breaker.failed(ALICE, UNREACHED, is_trial=begun)
    refusal = clocked.refused(BOB)
    assert refusal is not None
    assert refusal.retry_after == PAUSE - 1


def test_a_breaker_of_one_caller_has_a_trial_of_its_own() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5)
    clocked.work(BOB)
    assert clocked.refused(ALICE) is not None
    clocked.now += PAUSE
    assert clocked.breaker.enter(ALICE)
    assert clocked.refused(ALICE) is not None
    assert not clocked.breaker.enter(BOB)
    clocked.breaker.worked(ALICE, is_trial=True)
    assert clocked.refused(ALICE) is None
