"""Results of moderations as a response tells them: one for all that its models have read, one for all output."""

from __future__ import annotations

from typing import Final

from server.json_input.strict import Json

_RESULT: Final = "moderation_result"


def moderation_of(earlier: Json | None, results: Json) -> Json:
    """Return the results of a response after another answer of its model, whose chat tells `results`."""
    now = {side: _flat(told) for side, told in results.items()}
    return now if earlier is None else {side: _joined(earlier[side], told) for side, told in now.items()}


def _flat(told: Json) -> Json:
    """Return the one result in those that a chat tells of one side, or the error."""
    found: Json = told["results"][0] if told["type"] == "moderation_results" else told
    return found


def _joined(one: Json, other: Json) -> Json:
    """Return what is told of two parts of one side: an error only if the other part is not flagged."""
    if one["type"] != _RESULT or other["type"] != _RESULT:
        flagged = [each for each in (one, other) if each.get("flagged")]
        return (flagged or [each for each in (one, other) if each["type"] != _RESULT])[0]
    first, second = (other, one) if other["flagged"] and not one["flagged"] else (one, other)
    found = [name for name, is_found in second["categories"].items() if is_found]
    scores = {**second["category_scores"], **first["category_scores"]}
    types = {**second["category_applied_input_types"], **first["category_applied_input_types"]}
    return {
        **first,
        "categories": {**second["categories"], **first["categories"], **dict.fromkeys(found, True)},
        "category_scores": {
            name: max(score, second["category_scores"].get(name, 0.0)) for name, score in scores.items()
        },
        "category_applied_input_types": types | {name: second["category_applied_input_types"][name] for name in found},
    }
