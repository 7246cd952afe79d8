"""The forms that a caller may demand of an answer: llama.cpp follows them token by token, and some take it minutes.

All requests to a model are computed in one loop, so a form that is hard to follow would make other callers wait. The
check may run in a worker process, so this module imports the standard library, `server.json_input` and modules that
import no more than these.
"""

from __future__ import annotations

import re
from json import dumps
from typing import Any, Final

from server.json_input.strict import Document, InvalidJson, Json

MOST_BYTES: Final = 64 * 1024
"""Bytes of `response_format`, and of `tools`, as JSON."""

MOST_CHOICES: Final = 256
"""Values of `enum`, properties, and alternatives in one form, each."""

LONGEST_PATTERN: Final = 64
"""Characters of a `pattern`: a few dozen optional parts double the work again and again."""

MOST_REPEATS: Final = 100
"""Repetitions in a `pattern` that stand inside of each other, and so are multiplied. By a few hundred, the model
computes nothing else."""

GRAMMAR: Final = "grammar"
"""The member that holds a grammar of llama.cpp, of which a short one can stop the model for good."""

_FORMS: Final = ("response_format", "json_schema", "tools", "functions")
_PART: Final = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{[^}]*\}|.", re.DOTALL)
_NUMBER: Final = re.compile("[0-9]+")
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
                if isinstance(pattern := members.get("pattern"), str):
                    _check_pattern(name, pattern)
                waiting += members.values()
            case list() as values:
                waiting += values
    most = max(counts, key=lambda key: counts[key])
    if counts[most] > MOST_CHOICES:
        raise _too_hard(name, f"holds more than {MOST_CHOICES} entries of `{most}` in all")


def _check_pattern(name: str, pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise _too_hard(name, f"holds a `pattern` of more than {LONGEST_PATTERN} characters")
    if _repeats(pattern) > MOST_REPEATS:
        raise _too_hard(name, f"holds a `pattern` with more than {MOST_REPEATS} repetitions inside of each other")


def _repeats(pattern: str) -> int:
    """Return the most repetitions in a pattern that stand inside of each other; 0 where none do.

    Those that follow each other in a group are added up, and a part that may be missing counts as two. Numbers are
    read as loosely as llama.cpp reads them.
    """
    outer, before, last, most = list[int](), 0, 0, 0
    for part in _PART.findall(pattern):
        if times := _times(part):
            most = max(most, last * times)
            last = max(last, 1) * times
        elif part == ")":
            before, last = outer.pop() if outer else 0, before + last
        else:
            before, last = before + last, 0
            if part == "(":
                outer.append(before)
                before = 0
    return most


def _times(part: str) -> int:
    """Return how often a part has what is before it repeated, at most; 0 if it repeats nothing."""
    if part in ("*", "?"):
        return 2
    if part == "+":
        return 1
    return max([1, *map(int, _NUMBER.findall(part))]) if len(part) > 1 and part[0] == "{" else 0


def _too_hard(name: str, why: str) -> InvalidJson:
    return InvalidJson(
        f"`{name}` {why}, which is too hard to follow for a model on this machine", name, "invalid_value"
    )
