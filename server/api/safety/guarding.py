"""The shields that a request has to go through, since the decisions about it require them."""

from __future__ import annotations

from collections.abc import Sequence

from server.api.safety.shields import Shields
from server.authz.contract.errors import PolicyUnavailable
from server.authz.decision_log.record import ShieldVerdict
from server.authz.request_authorization import Gate
from server.safety.running import RunningShield, ShieldUnavailable
from server.safety.shield import Direction, Judges, Verdict


class RequestGuard:
    """The shields of the request behind `gate`; the caller need not be able to read them."""

    def __init__(self, shields: Shields, gate: Gate) -> None:
        self._shields = shields
        self._gate = gate

    @property
    def judges(self) -> Judges:
        """The models that judge for shields of the configuration."""
        return self._shields.judges(self._gate)

    def required(self) -> Sequence[RunningShield]:
        """Return the shields that decisions so far require; raises ShieldUnavailable for one that is gone."""
        return [self._known(name) for name in self._gate.shields]

    async def note(self, shield: str, direction: Direction, verdict: Verdict, characters: int) -> None:
        """Write a verdict into the decision log; raises ShieldUnavailable where that can't be done."""
        codes = [*dict.fromkeys(finding.code for finding in verdict.findings)]
        outcome = "flagged" if verdict.flagged else "masked" if verdict.masked is not None else "passed"
        try:
            await self._gate.shielded(ShieldVerdict(shield, direction, outcome, codes, characters))
        except PolicyUnavailable:
            raise ShieldUnavailable(
                f"the verdict of the shield `{shield}` can't be logged, so nothing passes"
            ) from None

    def _known(self, name: str) -> RunningShield:
        found = self._shields.configured(name)
        if found is None:
            raise ShieldUnavailable(f"the policy requires the shield `{name}`, which this server has not")
        return found
