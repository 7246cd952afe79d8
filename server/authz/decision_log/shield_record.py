"""The line of a shield's verdict on the texts of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from policy.vocabulary import Anonymous, Principal
from server.authz.decision_log.limits import MOST_RULES
from server.authz.decision_log.pieces import LineKind, head_of, json_text, outcome_members, shortened

_OUTCOMES: Final = {
    "told": "the shield has flagged the text, and only tells so",
    "unchecked": "the shield has failed, and lets texts pass then",
}


@dataclass(frozen=True, slots=True)
class ShieldVerdict:
    """The verdict of a shield on texts of a request, which have that many `characters`.

    The outcome is `flagged`, `masked`, `passed`, `told` for a text that is flagged by a shield which only tells so, or
    `unchecked` where the shield has failed. `codes` are those of the categories that it has found, and `direction` is
    `input` or `output`.
    """

    shield: str
    direction: str
    outcome: str
    codes: Sequence[str]
    characters: int


def line_of_shield(
    request_id: str,
    decision_id: str | None,
    revision: str | None,
    principal: Principal | Anonymous,
    said: ShieldVerdict,
) -> str:
    """Return one JSON object for the verdict of a shield; `decision_id` and `revision` are those of its route."""
    head = head_of(LineKind.SHIELD, request_id, decision_id, principal, revision)
    stopped = said.outcome == "flagged"
    outcome = outcome_members(
        "deny" if stopped else "permit",
        None,
        None,
        None,
        _OUTCOMES.get(said.outcome, f"the shield has {said.outcome} the text"),
    )
    codes = ",".join(json_text(shortened(code)) for code in said.codes[:MOST_RULES])
    return (
        f'{head},"shield":{json_text(said.shield)},"direction":{json_text(said.direction)},{outcome},'
        f'"outcome":{json_text(said.outcome)},"codes":[{codes}],"characters":{said.characters}}}'
    )
