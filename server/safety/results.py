"""Results of moderations: what a shield has found, in the categories that OpenAI's clients know."""

from __future__ import annotations

from typing import Any, Final

from server.safety.categories import CATEGORIES
from server.safety.shield import Direction, Verdict

_SEEN: Final = frozenset(
    {"self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "violence", "violence/graphic"}
)
"""OpenAI's categories of images, as the types of its clients have them."""

_UNASKED: Final = "the text was stopped before this shield was asked"
_NO_OUTPUT: Final = "there is no output that this shield could check"


def found_in(verdict: Verdict, *, seen: bool = False) -> dict[str, Any]:
    """Return whether a verdict flags a text, with all of OpenAI's categories, and those of ours that were found.

    With `seen`, it is about images too.
    """
    scores = dict.fromkeys(CATEGORIES, 0.0)
    found: set[str] = set()
    for finding in verdict.findings if verdict.flagged else ():
        for name in (*finding.openai, *([finding.own] if finding.own else [])):
            found.add(name)
            scores[name] = max(scores.get(name, 0.0), finding.score)
    return {
        "flagged": verdict.flagged,
        "categories": {name: name in found for name in scores},
        "category_scores": scores,
        "category_applied_input_types": {name: _types(name, seen=seen) if name in found else [] for name in scores},
    }


def _types(name: str, *, seen: bool) -> list[str]:
    return ["text", "image"] if seen and (name in _SEEN or name not in CATEGORIES) else ["text"]


def joined(one: Verdict | None, other: Verdict) -> Verdict:
    """Return what two verdicts on parts of one text say of it."""
    if one is None:
        return other
    scores = [verdict.score for verdict in (one, other) if verdict.score is not None]
    return Verdict(
        flagged=one.flagged or other.flagged,
        findings=tuple(dict.fromkeys((*one.findings, *other.findings))),
        score=max(scores, default=None),
    )


class Results:
    """The findings of the shield called `name` on the input and on the output of one request, for its caller."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._verdicts: dict[Direction, Verdict] = {}
        self._failures: dict[Direction, tuple[str, str]] = {}

    def found(self, direction: Direction, verdict: Verdict) -> None:
        """Take note of a verdict on a text, or on a part of one."""
        self._verdicts[direction] = joined(self._verdicts.get(direction), verdict)

    def failed(self, direction: Direction, code: str, message: str) -> None:
        """Take note that there is no verdict."""
        self._failures.setdefault(direction, (code, message))

    def told(self) -> dict[str, Any]:
        """Return the results as a chat tells them."""
        return {str(direction): self._side(direction) for direction in Direction}

    def _side(self, direction: Direction) -> dict[str, Any]:
        verdict = self._verdicts.get(direction)
        failure = self._failures.get(direction)
        if verdict is None or (failure is not None and not verdict.flagged):
            code, message = failure or ("not_checked", _UNASKED if direction is Direction.INPUT else _NO_OUTPUT)
            return {"type": "error", "code": code, "message": message}
        result = {"type": "moderation_result", "model": self._name, **found_in(verdict)}
        return {"type": "moderation_results", "model": self._name, "results": [result]}
