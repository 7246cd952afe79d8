"""The circuit breaker of a provider: what opens it and for whom, the single trial, and what it forgets."""

from __future__ import annotations

import pytest

from server.fairness.caller import Caller
from server.inference.breaker import (
    AGAIN_SECONDS,
    MOST_CALLERS,
    MOST_OF_ONE,
    SOON_SECONDS,
    TRIAL_SECONDS,
    Breaker,
    BreakerState,
)
from server.inference.provider import HEALTH_SECONDS, Fault, Kind, ProviderFailed
from server.inference.providers.refusals import broken, provider_refusal

ALICE, BOB, CAROL = ("principal", "i", "alice"), ("principal", "i", "bob"), ("principal", "i", "carol")
UNREACHED = broken("p", "could not be reached", spent=False, kind=Kind.UNREACHABLE)
PAUSE = 30.0


class Clocked:
    """A breaker whose time stands still until it is moved."""

    def __init__(self, failures: int = 5) -> None:
        self.now = 1000.0
        self.breaker = Breaker("p", failures, PAUSE, lambda: self.now)

    def fail(self, *callers: Caller, failure: ProviderFailed | None = None) -> None:
        """One request of each of these callers fails."""
        for caller in callers:
            is_trial = self.breaker.enter(caller)
            self.breaker.failed(caller, failure or status(500), is_trial=is_trial)

    def work(self, caller: Caller) -> None:
        """A request is answered."""
        self.breaker.worked(caller, is_trial=self.breaker.enter(caller))

    def refused(self, caller: Caller) -> ProviderFailed | None:
        """The failure of a request that is not let through."""
        try:
            self.breaker.check(caller)
        except ProviderFailed as failure:
            return failure
        return None


def status(code: int, body: bytes = b"{}") -> ProviderFailed:
    return provider_refusal("p", code, {}, body)


def test_no_connection_five_times_opens_it_for_all_callers() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 4, failure=UNREACHED)
    assert clocked.breaker.state is BreakerState.CLOSED
    clocked.fail(ALICE, failure=UNREACHED)
    assert (clocked.breaker.state, clocked.breaker.openings) == (BreakerState.OPEN, 1)
    refusal = clocked.refused(BOB)
    assert refusal is not None
    assert (refusal.fault, refusal.kind, refusal.retry_after) == (Fault.PAUSED, Kind.PAUSED, PAUSE)
    assert (refusal.unsent, refusal.spent) == (True, False)
    assert "`p`" in refusal.message
    clocked.now += 12.5
    later = clocked.refused(ALICE)
    assert later is not None
    assert later.retry_after == 18.0


@pytest.mark.parametrize("failure", [status(500), status(503), status(529), broken("p", "did not", kind=Kind.SILENT)])
def test_what_one_caller_may_have_caused_takes_the_provider_from_that_caller_alone(failure: ProviderFailed) -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=failure)
    assert clocked.refused(ALICE) is not None
    assert clocked.refused(BOB) is None
    assert clocked.breaker.state is BreakerState.CLOSED
    # Others count from what is left: it takes more than one other caller to make it suspect the provider.
    clocked.fail(BOB, BOB)
    assert not clocked.breaker.suspects
    clocked.fail(CAROL)
    assert MOST_OF_ONE * 2 + 1 == 5
    assert clocked.breaker.suspects
    assert clocked.refused(CAROL) is None
    clocked.breaker.probed(is_away=True)
    assert clocked.refused(CAROL) is not None
    assert (clocked.breaker.state, clocked.breaker.suspects) == (BreakerState.OPEN, False)


def test_no_number_of_callers_takes_a_provider_that_answers_from_others() -> None:
    clocked = Clocked()
    for number in range(100):
        clocked.fail(("principal", "i", str(number)))
        if clocked.breaker.suspects:
            clocked.now += HEALTH_SECONDS
            clocked.breaker.probed(is_away=False)
            assert not clocked.breaker.suspects
    assert (clocked.breaker.state, clocked.breaker.openings) == (BreakerState.CLOSED, 0)
    assert clocked.refused(ALICE) is None


def test_what_was_known_before_the_suspicion_does_not_end_it() -> None:
    clocked = Clocked()
    clocked.fail(ALICE, ALICE, BOB, BOB, CAROL)
    clocked.now += HEALTH_SECONDS / 2
    clocked.breaker.probed(is_away=False)
    assert clocked.breaker.suspects
    clocked.fail(CAROL)
    clocked.now += HEALTH_SECONDS / 2
    clocked.breaker.probed(is_away=True)
    assert clocked.breaker.state is BreakerState.OPEN


def test_a_probe_without_a_suspicion_opens_nothing() -> None:
    clocked = Clocked()
    clocked.breaker.probed(is_away=True)
    clocked.fail(*[ALICE] * 4, BOB, BOB)
    clocked.breaker.probed(is_away=True)
    assert clocked.breaker.state is BreakerState.CLOSED
    clocked.work(CAROL)
    clocked.breaker.probed(is_away=True)
    assert clocked.breaker.state is BreakerState.CLOSED


def test_failures_without_a_connection_make_it_suspect_with_others() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 3, failure=UNREACHED)
    clocked.fail(BOB, CAROL)
    assert clocked.breaker.suspects
    assert clocked.breaker.state is BreakerState.CLOSED


def test_a_probe_ends_a_pause_that_is_over_and_no_other() -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE] * 5, failure=UNREACHED)
    clocked.breaker.probed(is_away=False)
    assert clocked.breaker.state is BreakerState.OPEN
    clocked.now += PAUSE
    clocked.breaker.probed(is_away=True)
    assert clocked.breaker.state is BreakerState.HALF_OPEN
    clocked.breaker.probed(is_away=False)
    assert clocked.breaker.state is BreakerState.CLOSED
    assert not clocked.breaker.enter(BOB)


NEUTRAL = [
    status(400),
    status(413),
    status(422),
    status(401),
    status(404),
    status(429),
    status(501),
    status(308),
    status(500, b'{"error": {"message": "prompt too long; exceeded max context length by 1 tokens"}}'),
    ProviderFailed(Fault.REQUEST, "no", kind=Kind.TOLD),
    broken("p", "answered with something other than a chat completion"),
]


@pytest.mark.parametrize("failure", NEUTRAL, ids=lambda failure: f"{failure.status}-{failure.kind}")
def test_what_says_that_the_provider_answers_never_opens_it(failure: ProviderFailed) -> None:
    clocked = Clocked()
    clocked.fail(*[ALICE, BOB, CAROL] * 10, failure=failure)
    assert clocked.breaker.state is BreakerState.CLOSED
    assert clocked.refused(ALICE) is None
    # Nor does it hide that others fail.
    for caller in (ALICE, BOB):
        clocked.fail(caller)
        clocked.fail(caller, failure=failure)
        clocked.fail(caller)
    clocked.fail(CAROL)
    assert clocked.breaker.suspects


def test_an_answer_begins_the_count_anew() -> None:
    clocked = Clocked()
    for _ in range(3):
        clocked.fail(*[ALICE] * 2, failure=UNREACHED)
        clocked.fail(*[BOB] * 4)
        clocked.work(BOB)
    assert clocked.breaker.state is BreakerState.CLOSED
    assert clocked.refused(BOB) is None


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


def test_it_remembers_so_many_callers_and_no_more() -> None:
    clocked = Clocked(failures=1000)
    for number in range(MOST_CALLERS + 10):
        clocked.fail(("principal", "i", str(number)))
        clocked.work(BOB)
    assert len(clocked.breaker._callers) == MOST_CALLERS


def test_one_for_callers_alone_opens_for_no_other() -> None:
    clocked = Clocked()
    clocked.breaker = Breaker("p", 3, PAUSE, lambda: clocked.now, for_callers_alone=True)
    clocked.fail(*[ALICE] * 3)
    clocked.fail(*[BOB] * 20, failure=UNREACHED)
    clocked.fail(BOB, CAROL, BOB, CAROL)
    assert (clocked.breaker.state, clocked.breaker.suspects) == (BreakerState.CLOSED, False)
    assert clocked.refused(ALICE) is not None
    assert clocked.refused(BOB) is clocked.refused(CAROL) is None


def test_no_caller_alone_may_open_it_for_all() -> None:
    with pytest.raises(ValueError, match="alone"):
        Breaker("p", MOST_OF_ONE)
