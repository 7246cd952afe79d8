"""Which providers have a breaker, and whom it may refuse."""

from __future__ import annotations

import pytest

from server.fairness.caller import Caller
from server.inference.breaker import Breaker, BreakerState
from server.inference.provider import Kind, ProviderFailed
from server.inference.providers.refusals import broken
from server.wiring.providers import _breaker
from tests.support.config_texts import load

CRASHED = broken("p", "could not be reached", kind=Kind.UNREACHABLE)


def breaker_of(kind: str) -> Breaker | None:
    [provider] = load(f"providers: {{inference: [{{provider_id: p, provider_type: '{kind}'}}]}}").providers["inference"]
    return _breaker(provider)


@pytest.mark.parametrize("kind", ["inline::echo", "inline::wordllama"])
def test_what_computes_in_the_servers_process_has_none(kind: str) -> None:
    assert breaker_of(kind) is None


def test_a_model_in_a_child_is_left_alone_by_callers_whose_requests_end_it() -> None:
    breaker = breaker_of("inline::llama-cpp")
    assert breaker is not None
    callers: list[Caller] = [("principal", "i", str(number)) for number in range(9)]
    for caller in callers:
        for _ in range(3):
            breaker.failed(caller, CRASHED, is_trial=breaker.enter(caller))
    assert (breaker.state, breaker.suspects) == (BreakerState.CLOSED, False)
    with pytest.raises(ProviderFailed, match="your own requests"):
        breaker.check(callers[0])
    breaker.check(("principal", "i", "another"))
