"""The forms that a caller may demand of an answer: llama.cpp follows them token by token, and some take it minutes.

All requests to a model are computed in one loop, so a form that is hard to follow would make other callers wait. The
check may run in a worker process, so this module imports the standard library, `server.json_input` and modules that
import no more than these.
"""

from __future__ import annotations

from json import dumps
from typing import Any, Final

from server.json_input.strict import Document, InvalidJson, Json

MOST_BYTES: Final = 64 * 1024
"""Bytes of `response_format`, and of `tools`, as JSON."""

MOST_CHOICES: Final = 256
"""Values of `enum`, properties, and alternatives in one form, each."""

LONGEST_PATTERN: Final = 64
"""Characters of a `pattern`: a few dozen optional parts double the work again and again."""

GRAMMAR: Final = "grammar"
"""The member that holds a grammar of llama.cpp, of which a short one can stop the model for good."""

_FORMS: Final = ("response_format", "json_schema", "tools", "functions")
_COUNTED: Final = ("enum", "properties", "anyOf", "oneOf", "allOf", "prefixItems")


def look_for_forms(document: Document) -> Json:
    """Return the number of choices, and whether there is a grammar; raises InvalidJson for a form that is too hard."""
    body = document.members
    for name in _FORMS:
        if body.get(name) is not None:
            _check(name, body[name])
    count = body.get("n")
    return {"choices": count if type(count) is int else 1, "has_grammar": body.get(GRAMMAR) is not None}


def _check(name: str, form: Any) -> None:
    if len(dumps(form)) > MOST_BYTES:
        raise _too_hard(name, f"has more than {MOST_BYTES} bytes")
    counts = dict.fromkeys(_COUNTED, 0)
    waiting = [form]
    while waiting:
        match waiting.pop():
            case dict() as members:
                for key in counts.keys() & members.keys():
                    if isinstance(members[key], dict | list):
                        counts[key] += len(members[key])
                pattern = members.get("pattern")
                if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
                    raise _too_hard(name, f"holds a `pattern` of more than {LONGEST_PATTERN} characters")
                waiting += members.values()
            case list() as values:
                waiting += values
    most = max(counts, key=lambda key: counts[key])
    if counts[most] > MOST_CHOICES:
        raise _too_hard(name, f"holds more than {MOST_CHOICES} entries of `{most}` in all")


def _too_hard(name: str, why: str) -> InvalidJson:
    return InvalidJson(
        f"`{name}` {why}, which is too hard to follow for a model on this machine", name, "invalid_value"
    )
