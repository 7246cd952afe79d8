"""A circuit breaker whose time stands still until a test moves it."""

from __future__ import annotations

from server.fairness.caller import Caller
from server.inference.breaker import Breaker
from server.inference.provider import Kind, ProviderFailed
from server.inference.providers.refusals import broken
from tests.support.provider_refusals import provider_refusal

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
