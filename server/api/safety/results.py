"""Results of moderations, and violations, as callers are shown them."""

from __future__ import annotations

from typing import Any

from server.safety.checks import USUAL_MESSAGE
from server.safety.results import found_in
from server.safety.running import RunningShield
from server.safety.shield import Verdict


def moderation(shield: RunningShield, verdict: Verdict, *, seen: bool = False) -> dict[str, Any]:
    """Return one result of moderations: all of OpenAI's categories, and those of ours that were found.

    With `seen`, images were judged too.
    """
    return {
        **found_in(verdict, seen=seen),
        "user_message": message_of(shield) if verdict.flagged else None,
        "metadata": metadata_of(verdict),
    }


def violation(shield: RunningShield, verdict: Verdict) -> dict[str, Any] | None:
    """Return the violation that a verdict is; None for none."""
    if verdict.flagged:
        return {
            "violation_level": "error",
            "user_message": message_of(shield),
            "metadata": metadata_of(verdict),
        }
    if verdict.masked is not None:
        masked = {"masked": list(verdict.masked)}
        return {"violation_level": "info", "user_message": None, "metadata": metadata_of(verdict) | masked}
    return None


def message_of(shield: RunningShield) -> str:
    """Return what callers are told whose text is flagged."""
    return shield.message or USUAL_MESSAGE


def metadata_of(verdict: Verdict) -> dict[str, Any]:
    """Return the shield's own codes of what it has found, and the probability that it tells."""
    codes = list(dict.fromkeys(finding.code for finding in verdict.findings))
    told: dict[str, Any] = {"violation_type": ",".join(codes), "codes": codes} if codes else {}
    return told if verdict.score is None else {**told, "score": verdict.score}
