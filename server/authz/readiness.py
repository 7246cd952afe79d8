"""Readiness: the wanted policy is in force, and denies what every policy denies."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policy.vocabulary import Anonymous, Verdict
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import CANARY_ROUTE, Question
from server.authz.opa.command import OLDEST, Version, written
from server.authz.opa.control_plane import ControlPlane
from server.authz.pdp import PolicyDecisionPoint

CANARY: Final = Question(Anonymous(), CANARY_ROUTE)
"""Where authentication is configured, no caller without a token may use this route under any rules: the bundle's own
code denies it, or a guardrail, but never a rule.
"""

_BY_LAW: Final = frozenset({None, "guardrails"})

_WATCH_SECONDS: Final = 1.0

_log = logging.getLogger("ostiary.opa")


class AuthenticationMode(StrEnum):
    """The mode of authentication: callers may present tokens, or all are anonymous."""

    CONFIGURED = "configured"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of the policy engine now. `reason` is None when the server may serve, else one sentence.

    `age_seconds` counts from the first answer of the live revision.
    """

    wanted_revision: str | None
    live_revision: str | None
    age_seconds: float | None
    authentication: AuthenticationMode
    reason: str | None

    @property
    def ready(self) -> bool:
        """True if the wanted policy can decide requests."""
        return self.reason is None


class ReadinessProbe:
    """Finds out, each time it is asked, by real questions; it never raises."""

    def __init__(self, pdp: PolicyDecisionPoint, control: ControlPlane, authentication: AuthenticationMode) -> None:
        self._pdp = pdp
        self._control = control
        self._authentication = authentication

    async def check(self) -> Readiness:
        """Ask what must get no decision, ask what must be denied, and ask OPA for its own health."""
        wanted, live, age = self._pdp.expected_revision, None, None
        reason, heard = await self._reason()
        if heard and self._pdp.live_since is not None:
            live, age = self._pdp.live_revision, time.monotonic() - self._pdp.live_since
        return Readiness(wanted, live, age, self._authentication, reason)

    async def _reason(self) -> tuple[str | None, bool]:
        """Return the reason why the server can't serve, or None; and true if OPA named its revision."""
        healthy = await self._control.healthy()
        if healthy:
            self._pdp.unfit = _unfit(await self._control.too_old())
        if self._pdp.unfit is not None:
            return self._pdp.unfit, False
        try:
            await self._pdp.probe_undecided()
            await self._check_canary()
        except PolicyUnavailable as failure:
            return failure.reason, failure.failure is Failure.REVISION
        return (None if healthy else "opa says that it is not healthy"), True

    async def _check_canary(self) -> None:
        """Raise PolicyUnavailable unless OPA denies the canary.

        While authentication is off, anonymous callers may be permitted everything: then the caller is `NEITHER`.
        """
        off = self._authentication is AuthenticationMode.OFF
        decision = (await (self._pdp.probe_neither(CANARY) if off else self._pdp.probe(CANARY))).route
        if decision is None or decision.verdict is not Verdict.DENY or decision.rule not in _BY_LAW:
            raise PolicyUnavailable(Failure.MALFORMED, "opa permits a question that every policy denies")


def _unfit(too_old: Version | None) -> str | None:
    if too_old is None:
        return None
    return f"opa is version {written(too_old)}, which is too old; run {written(OLDEST)} or newer"


async def watch(probe: ReadinessProbe, where: str) -> None:
    """Log, for ever, each time that an OPA at `where`, which runs beside the server, gets ready or stops being so."""
    known: str | None = ""
    while True:
        readiness = await probe.check()
        if readiness.reason != known:
            if readiness.ready:
                _log.warning("opa at %s is ready, revision %s", where, readiness.live_revision)
            else:
                _log.error("not ready: %s; requests get 503 until opa at %s is", readiness.reason, where)
            known = readiness.reason
        await asyncio.sleep(_WATCH_SECONDS)
