"""The shields that a request has to go through: those that the decisions about it require, and those it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.api.models.asked_shields import DEFAULT, Asked
from server.api.safety.errors import shield_not_found, unnamed, unusable
from server.api.safety.shields import Shields
from server.authz.contract.errors import PolicyUnavailable
from server.authz.decision_log.shield_record import ShieldVerdict
from server.authz.request_authorization import Gate
from server.config.shield_params import BadParams
from server.safety.running import RunningShield, ShieldUnavailable, UsableShield
from server.safety.shield import UNCHECKED, Direction, Verdict
from server.storage.records.guarded import NotFound


async def guard_of(shields: Shields, gate: Gate, asked: Sequence[Asked]) -> RequestGuard:
    """Return the shields of the request behind `gate`, which asks for these.

    Raises the 404 of one that is missing or that the caller may not read, and the 400 of one that can't be used.
    """
    found = dict[str, UsableShield]()
    for param, name, scored in asked:
        usable = await _usable(shields, gate, param, name)
        if scored is not None:
            usable = replace(usable, only_tells=frozenset(map(Direction, scored)), tells=True)
        other = found.get(usable.running.identity)
        if other is not None:
            only = usable.only_tells & other.only_tells
            usable = replace(usable, only_tells=only, tells=usable.tells or other.tells)
        found[usable.running.identity] = usable
    return RequestGuard(shields, gate, found)


async def _usable(shields: Shields, gate: Gate, param: str, name: str) -> UsableShield:
    if name == DEFAULT:
        if shields.default is None:
            raise await unnamed(shields, gate, param)
        name = shields.default
    try:
        # OpenAI's clients name what judges; others name shields.
        return await (shields.of_model(gate, name) if param == "moderation.model" else shields.of(gate, name))
    except NotFound:
        raise shield_not_found(name, param) from None
    except BadParams as wrong:
        raise unusable(name, wrong) from None


class RequestGuard:
    """The shields of the request behind `gate`; the caller has read those of `asked`, and need not read the others."""

    def __init__(self, shields: Shields, gate: Gate, asked: dict[str, UsableShield]) -> None:
        self._shields = shields
        self._gate = gate
        self._asked = asked

    def shields(self) -> Sequence[UsableShield]:
        """Return the shields that decisions so far require, and behind them the others that the request asks for.

        Raises ShieldUnavailable for one that is gone.
        """
        names = self._gate.shields
        if not names and not self._asked:
            return ()
        judges = self._shields.judges(self._gate)
        tell = {name for name, shield in self._asked.items() if shield.tells}
        required = [UsableShield(self._known(name), judges, tells=name in tell, required=True) for name in names]
        return [*required, *(shield for name, shield in self._asked.items() if name not in names)]

    async def note(
        self, shield: str, direction: Direction, verdict: Verdict, characters: int, *, acts: bool = True
    ) -> None:
        """Write a verdict into the decision log; raises ShieldUnavailable where that can't be done."""
        codes = [*dict.fromkeys(finding.code for finding in verdict.findings)]
        outcome = "flagged" if verdict.flagged else "masked" if verdict.masked is not None else "passed"
        if verdict is UNCHECKED:
            outcome = "unchecked"
        elif not acts and outcome != "passed":
            outcome = "told"
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
