"""The conditions under `when` and `unless`: `user with admin in roles`, `user is owner`, and others.

Two conditions are extensions of Ostiary, which the default policy needs: `user is authenticated` and `resource is from
config` (`docs/policy/policy-language.md` §5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from policy.rules import (
    Condition,
    HasValue,
    IsAuthenticated,
    IsFromConfig,
    IsOwner,
    IsUnowned,
    SharesWithOwner,
)
from policy.source.diagnostics import Findings, did_you_mean, quoted
from policy.source.document import Scalar

FORMS: Final = (
    "user with VALUE in ATTRIBUTE",
    "user with VALUE not in ATTRIBUTE",
    "user is owner",
    "user is not owner",
    "user in owners ATTRIBUTE",
    "user not in owners ATTRIBUTE",
    "user is authenticated",
    "resource is unowned",
    "resource is from config",
)
"""Every spelling of a condition."""

_WITHOUT_OPERAND: Final[Mapping[str, Condition]] = {
    "user is owner": IsOwner(negated=False),
    "user is not owner": IsOwner(negated=True),
    "user is authenticated": IsAuthenticated(),
    "resource is unowned": IsUnowned(),
    "resource is from config": IsFromConfig(),
}
_KEYWORDS: Final = frozenset(word for form in FORMS for word in form.split() if word.islower()) | {"owner"}
_NEGATED_BY_UNLESS: Final = {
    "user is not authenticated": "user is authenticated",
    "resource is not unowned": "resource is unowned",
    "resource is owned": "resource is unowned",
    "resource is not from config": "resource is from config",
}
# Any white space separates words: a text copied from a web page may hold no-break spaces.
_TOKEN: Final = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"']\S*))(?=\s|$)""")


@dataclass(frozen=True, slots=True)
class _Quoted:
    text: str


_Token: TypeAlias = str | _Quoted


def condition(scalar: Scalar, in_route_rule: bool, findings: Findings) -> Condition | None:
    """Return the condition that `scalar` spells.

    Reports an unknown condition, or one that a route rule can't have, and returns None.
    """
    text = scalar.text.strip()
    tokens = _tokens(text)
    found = _condition(tokens) if tokens else None
    if found is None:
        findings.error("invalid-condition", scalar.span, f"{quoted(text)} is not a condition", _hint(text, tokens))
        return None
    if in_route_rule and not isinstance(found, HasValue | IsAuthenticated):
        message = f"{quoted(text)} is about a resource, and route rules are asked before there is one"
        findings.error("resource-in-route", scalar.span, message, "move the rule to `access_policy`")
        return None
    return found


def _tokens(text: str) -> list[_Token] | None:
    """Return the words and quoted texts; None if a quote isn't closed."""
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            return None
        bare = found["bare"]
        tokens.append(bare if bare is not None else _Quoted(found["double"] or found["single"] or ""))
        position = found.end()
    return tokens


def _condition(tokens: Sequence[_Token]) -> Condition | None:
    match tokens:
        case ["user", "with", "not", "in", str()]:
            return None  # is `not` the value, or is the value missing?
        case ["user", "with", value, "in", str(attribute)]:
            return _has_value(value, attribute, negated=False)
        case ["user", "with", value, "not", "in", str(attribute)]:
            return _has_value(value, attribute, negated=True)
        case ["user", "in", "owners" | "owner", str(attribute)]:
            return SharesWithOwner(attribute, negated=False)
        case ["user", "not", "in", "owners" | "owner", str(attribute)]:
            return SharesWithOwner(attribute, negated=True)
    words = " ".join(token for token in tokens if isinstance(token, str))
    return _WITHOUT_OPERAND.get(words) if all(isinstance(token, str) for token in tokens) else None


def _has_value(value: _Token, attribute: str, negated: bool) -> HasValue | None:
    text = value if isinstance(value, str) else value.text
    return HasValue(text, attribute, negated) if text else None


def _hint(text: str, tokens: list[_Token] | None) -> str:
    """Return the spelling to use instead of a text that is no condition."""
    if tokens is None:
        return "a quote opens and does not close around one whole value"
    words = [token if isinstance(token, str) else f'"{token.text}"' for token in tokens]
    lowered = [word.lower() if word.lower() in _KEYWORDS else word for word in words]
    plain = " ".join(lowered)
    meant = re.sub(r"^user (has|have|having|is) (?=\S+ (not )?in \S+$)", "user with ", plain)
    if meant != " ".join(words) and _condition(_tokens(meant) or []):
        return f"did you mean {quoted(meant)}?"
    if plain in _NEGATED_BY_UNLESS:
        return f"turn the clause round: `unless: {_NEGATED_BY_UNLESS[plain]}` in place of `when`, or the reverse"
    if {"and", "or", "&&", "||"} & set(lowered):
        return "write one condition per entry of a list; `or` is a second rule"
    if '""' in words:
        return "the value is empty"
    if plain.startswith("user with not in "):
        return 'write the value `not` in quotes: `"not"`, or add the one that is missing'
    if plain.startswith(("user with ", "user in owner", "user not in owner")) and isinstance(tokens[-1], _Quoted):
        return "an attribute's name takes no quotes"
    if plain.startswith(("user with ", "user in ", "user not in ")) and plain.endswith((" in", " owner", " owners")):
        return "the attribute's name is missing at the end, as in `user in owners teams`"
    if blank := re.fullmatch(r"user with ([^\"']+? [^\"']+?) (not in|in) (\S+)", plain):
        meant = f'user with "{blank[1]}" {blank[2]} {blank[3]}'
        return f"a value that holds blanks needs quotes: {quoted(meant)}"
    # A suggestion must not reverse the condition: `not` stays in it.
    return did_you_mean(text, [form for form in FORMS if (" not " in form) == ("not" in lowered)])
