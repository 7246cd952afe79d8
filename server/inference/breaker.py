"""Circuit breakers: a provider that keeps failing is left alone for a while."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from math import ceil
from typing import Final

from server.fairness.caller import Caller
from server.inference.provider import HEALTH_SECONDS, Fault, Kind, ProviderFailed

FAILURES: Final = 5
"""Failures in a row that open a breaker, unless the configuration says otherwise."""

PAUSE_SECONDS: Final = 30
"""Seconds for which a breaker stays open, unless the configuration says otherwise."""

MOST_OF_ONE: Final = 2
"""Failures in a row of one caller that count against the provider, of those that its own requests may have caused."""

TRIAL_SECONDS: Final = 5.0
"""Seconds that one request may take to try a provider again, before another one may."""

AGAIN_SECONDS: Final = 10.0
"""Seconds after which one caller may try a provider again, for all, whatever became of its last trial."""

SOON_SECONDS: Final = 1.0
"""Seconds after which a caller may come again while another request tries the provider."""

MOST_CALLERS: Final = 1024
"""Callers whose own failures one breaker remembers."""

_SERVER_FAILED: Final = 500

_log: Final = logging.getLogger("ostiary.inference")


class BreakerState(StrEnum):
    """`open` while no request is let through, `half-open` while a single one is."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


class _Circuit:
    """Failures in a row; from the last one of them it is open until `until`, then half-open until a trial succeeds."""

    __slots__ = ("failures", "trial_until", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until: float | None = None
        self.trial_until = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be let through; 0 where one may now."""
        if self.until is None:
            return 0.0
        return max(self.until - now, min(self.trial_until - now, SOON_SECONDS), 0.0)

    def opened(self, now: float, pause: float) -> None:
        self.until, self.trial_until = now + pause, 0.0

    def closed(self) -> None:
        self.failures, self.until, self.trial_until = 0, None, 0.0


class Breaker:
    """The breaker of one provider, for all callers and for each.

    What counts is no connection, a broken one, no answer in time, and a status of 500 or more. It opens for one caller
    after `failures` in a row of its own. It opens for all after as many attempts in a row without a connection, which
    no request causes. Other failures in a row, of which one caller's count `MOST_OF_ONE` times at most, only make it
    suspect the provider: then it opens if the server's own probe fails too. So callers can't take a provider from
    others, however many they are. Once the pause is over, a probe closes it, or one request at a time tries. A trial
    that a caller may have spoilt opens it for that caller, and lets another one try.
    With `for_callers_alone` it never opens for all. Belongs to one event loop; `clock` is in seconds.
    """

    def __init__(
        self,
        provider_id: str,
        failures: int = FAILURES,
        pause: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        *,
        for_callers_alone: bool = False,
    ) -> None:
        if failures <= MOST_OF_ONE:
            raise ValueError("one caller alone would open the breaker for all")
        self.openings = 0
        self._for_callers_alone = for_callers_alone
        self._unreached = 0
        self._suspected: float | None = None
        self._provider_id = provider_id
        self._most = failures
        self._pause = pause
        self._clock = clock
        self._all = _Circuit()
        self._of_run: dict[Caller, int] = {}
        self._callers: OrderedDict[Caller, _Circuit] = OrderedDict()
        self._tried: OrderedDict[Caller, float] = OrderedDict()
        self._spoilt: set[Caller] = set()

    @property
    def state(self) -> BreakerState:
        """The state for all callers."""
        if self._all.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._all.until else BreakerState.HALF_OPEN

    @property
    def suspects(self) -> bool:
        """True while a probe is wanted, because of what callers have met."""
        return self._suspected is not None

    @property
    def told(self) -> str | None:
        """The reason why no request is let through, in one sentence; None where requests are."""
        if self.state is not BreakerState.OPEN:
            return None
        return f"its breaker is open after {self._all.failures} failures in a row"

    def check_all(self) -> None:
        """Raise the failure of a request, if none is let through."""
        if self._all.until is not None and self.state is BreakerState.OPEN:
            self._refuse(self._all.wait(self._clock()), "it")

    def check(self, caller: Caller) -> None:
        """Raise the failure of a request that is not let through now."""
        if self._all.until is not None or self._callers:
            now, own = self._clock(), self._callers.get(caller)
            self._refuse(max(self._all.wait(now), self._tried.get(caller, now) - now), "it")
            if own is not None:
                self._refuse(own.wait(now), "your own requests to it")

    def enter(self, caller: Caller) -> bool:
        """Let a request through, or raise its failure as `check` does; return whether it is a trial."""
        if self._all.until is None and not self._callers:
            return False
        self.check(caller)
        is_trial = False
        for circuit in (self._all, self._callers.get(caller)):
            if circuit is not None and circuit.until is not None:
                circuit.trial_until = self._clock() + TRIAL_SECONDS
                is_trial = True
        if self._all.until is not None:
            self._tried[caller] = self._clock() + AGAIN_SECONDS
            self._tried.move_to_end(caller)
            if len(self._tried) > MOST_CALLERS:
                self._tried.popitem(last=False)
        return is_trial

    def worked(self, caller: Caller, *, is_trial: bool) -> None:
        """Note an answer; one to a request from before the breaker opened says nothing about the time since."""
        if not (self._all.failures or self._unreached or self._callers):
            return
        own = self._callers.get(caller)
        if own is not None and (is_trial or own.until is None):
            del self._callers[caller]
        if self._all.until is None:
            self._forget()
        elif is_trial:
            self._close()

    def failed(self, caller: Caller, failure: ProviderFailed, *, is_trial: bool) -> None:
        """Note a failure. A refusal of the request says that the provider answers, and ends a trial well."""
        if failure.fault is Fault.PAUSED:
            self.left(caller, is_trial=is_trial)
            return
        if not counts(failure):
            if is_trial:
                self.worked(caller, is_trial=True)
            return
        now = self._clock()
        if not failure.unsent:
            self._count_own(caller, now, is_trial=is_trial)
        if self._for_callers_alone:
            return
        if self._all.until is not None:
            if is_trial:
                self._end_trial(caller, failure, now)
            return
        self._count(caller, failure)
        if self._all.failures >= self._most:
            self._suspect(now)
        if self._unreached >= self._most:
            self._open(now)

    def probed(self, *, is_away: bool) -> None:
        """Note a probe of the server's own: it decides about a suspicion, and ends a pause that is over.

        That the provider is well may be known from before a new suspicion, about which it then says nothing.
        """
        now, state = self._clock(), self.state
        if is_away:
            if self.suspects:
                self._open(now)
        elif self._suspected is not None and now - self._suspected < HEALTH_SECONDS:
            return
        elif state is BreakerState.HALF_OPEN:
            self._close()
        elif state is BreakerState.CLOSED:
            self._forget()

    def left(self, caller: Caller, *, is_trial: bool) -> None:
        """Note a request that ended without an outcome, such as one that its caller has given up."""
        if is_trial:
            for circuit in (self._all, self._callers.get(caller)):
                if circuit is not None:
                    circuit.trial_until = 0.0

    def _end_trial(self, caller: Caller, failure: ProviderFailed, now: float) -> None:
        """Open for all where no connection could be made; else let another caller try, and suspect after several."""
        if failure.unsent:
            self._open(now)
            return
        self._spoilt.add(caller)
        self._callers[caller].opened(now, self._pause)
        self._all.trial_until = now + SOON_SECONDS
        if len(self._spoilt) > MOST_OF_ONE:
            self._suspect(now)

    def _suspect(self, now: float) -> None:
        if self._suspected is None:
            self._suspected = now

    def _open(self, now: float) -> None:
        if self._all.until is None:
            self.openings += 1
        self._of_run.clear()
        self._spoilt.clear()
        self._suspected = None
        self._all.opened(now, self._pause)
        _log.warning("the breaker of the provider `%s` is open for %g s", self._provider_id, self._pause)

    def _close(self) -> None:
        self._forget()
        self._all.closed()
        self._tried.clear()
        self._spoilt.clear()
        _log.warning("the breaker of the provider `%s` is closed again", self._provider_id)

    def _forget(self) -> None:
        """Begin the counts for all anew."""
        self._all.failures = self._unreached = 0
        self._suspected = None
        self._of_run.clear()

    def _count(self, caller: Caller, failure: ProviderFailed) -> None:
        """Count a failure against the provider, unless this caller's own have been counted already."""
        if failure.unsent:
            self._unreached += 1
        elif self._of_run.get(caller, 0) < MOST_OF_ONE:
            self._of_run[caller] = self._of_run.get(caller, 0) + 1
        else:
            return
        self._all.failures += 1

    def _count_own(self, caller: Caller, now: float, *, is_trial: bool) -> None:
        own = self._callers.get(caller)
        if own is None:
            own = self._callers[caller] = _Circuit()
            if len(self._callers) > MOST_CALLERS:
                self._callers.popitem(last=False)
        self._callers.move_to_end(caller)
        if own.until is not None and not is_trial:
            return
        own.failures += 1
        if own.failures >= self._most:
            own.opened(now, self._pause)

    def _refuse(self, wait: float, which: str) -> None:
        if wait <= 0:
            return
        seconds = ceil(wait)
        raise ProviderFailed(
            Fault.PAUSED,
            f"the provider `{self._provider_id}` is not asked now: {which} kept failing; try again in {seconds} s",
            retry_after=float(seconds),
            kind=Kind.PAUSED,
            unsent=True,
        )


def counts(failure: ProviderFailed) -> bool:
    """Return whether a failure says that the provider does not work."""
    if failure.fault is not Fault.PROVIDER or failure.hopeless:
        return False
    return failure.kind in (Kind.UNREACHABLE, Kind.SILENT) or (failure.status or 0) >= _SERVER_FAILED
