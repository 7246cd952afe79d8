"""Offsets of the constructs of a pattern that may be refused, for messages.

Python's parse tree has no positions, so the text is scanned separately. No translation depends on this scan.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<octal>\\[1-7][0-7][0-7])
    | (?P<reference>\\[1-9][0-9]?|\(\?P=[^)]*\))
    | (?P<boundary>\\b)
    | (?P<non_boundary>\\B)
    | (?P<escape>\\[\s\S])
    | (?P<set>\[\^?\]?(?:\\[\s\S]|[^\]\\])*\])
    | (?P<comment>\(\?\#(?:\\[\s\S]|[^)\\])*\))
    | (?P<behind>\(\?<[=!])
    | (?P<ahead>\(\?[=!])
    | (?P<conditional>\(\?\([^)]*\))
    | (?P<atomic>\(\?>)
    | (?P<flags>\(\?(?P<on>[A-Za-z]*)(?:-(?P<off>[A-Za-z]+))?(?P<scope>[:)]))
    | (?P<group>\((?:\?P<[^>]*>)?)
    | (?P<close>\))
    | (?P<quantifier>(?:[*+?]|\{(?!\})[0-9]*,?[0-9]*\})(?P<mode>[?+]?))
    | (?P<end>\$)
    | (?P<plain>[A-Za-z0-9_:/-]+)
    | (?P<blank>[ \t\n\r\v\f]|\#(?:\\[\s\S]|[^\\\n])*\n?)
    | (?P<other>[\s\S])
    """,
    re.VERBOSE,
)
_NOTED: Final = {
    "reference": "back-reference",
    "boundary": r"\b",
    "non_boundary": r"\B",
    "behind": "look-behind",
    "ahead": "look-ahead",
    "conditional": "conditional group",
    "atomic": "atomic group",
    "quantifier": "repetition",
    "end": "$",
}
_OPENING: Final = {"behind", "ahead", "conditional", "atomic", "group"}


def places(pattern: str) -> dict[str, deque[int]]:
    """Return the offsets of each kind of construct, in the order of the text."""
    found: dict[str, deque[int]] = defaultdict(deque)
    verbose = [False]
    offset = 0
    while token := _TOKEN.match(pattern, offset):
        kind = token.lastgroup
        if kind == "blank" and not verbose[-1]:
            # Outside the verbose mode a `#` is one plain character.
            offset += 1
            continue
        if kind in _NOTED:
            found[_NOTED[kind]].append(offset)
        if token["mode"] == "+":
            found["possessive quantifier"].append(offset)
        _follow_groups(token, kind, verbose)
        offset = token.end()
    return found


def _follow_groups(token: re.Match[str], kind: str | None, verbose: list[bool]) -> None:
    """Keep `verbose`, one entry for each open group, in step with the token."""
    if kind in _OPENING:
        verbose.append(verbose[-1])
    elif kind == "close" and len(verbose) > 1:
        verbose.pop()
    elif kind == "flags":
        state = (verbose[-1] or "x" in token["on"]) and "x" not in (token["off"] or "")
        if token["scope"] == ":":
            verbose.append(state)
        else:
            verbose[-1] = state
