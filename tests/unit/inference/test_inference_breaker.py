"""The circuit breaker of a provider: what opens it and for whom, and what it remembers."""

from __future__ import annotations

import pytest

from server.inference.breaker import MOST_CALLERS, MOST_OF_ONE, Breaker, BreakerState
from server.inference.provider import HEALTH_SECONDS, Fault, Kind, ProviderFailed
from server.inference.providers.refusals import broken
from tests.support.clocked_breaker import ALICE, BOB, CAROL, PAUSE, UNREACHED, Clocked, status


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
