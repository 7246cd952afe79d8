"""`${env.NAME}` in configuration values: what the environment makes of a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from policy.diagnostics import quoted

DISABLED: Final = "__disabled__"
"""What `${env.NAME:=__disabled__}` leaves of a resource's id when NAME is unset: the resource isn't registered."""

_EXPRESSION: Final = re.compile(r"\$\{env\.(?P<body>[^}]*)\}")
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_BODY: Final = re.compile(rf"(?P<name>{_NAME})(?:(?P<operator>:[=+])(?P<text>.*)|:(?P<off>{DISABLED}))?", re.DOTALL)
_MISTAKEN: Final = re.compile(rf"(?P<name>{_NAME})(?::[-?]?|-)(?P<text>.*)", re.DOTALL)
_OPENING: Final = "${env."
_ORDINARY: Final = re.compile(rf"\$\{{(?!env\.){_NAME}(?::?[-+=?][^}}]*)?\}}")


@dataclass(frozen=True, slots=True)
class Missing:
    """Variables that a text needs and the environment lacks; no name twice, in the order of the text."""

    names: tuple[str, ...]


def substitute(text: str, environ: Mapping[str, str]) -> str | Missing | None:
    """`text` with its expressions replaced, once: what a variable holds is never expanded again.

    An empty variable counts as unset. A text that is one whole expression may give None; inside a longer text an
    absent value is empty. Raises `ValueError` with one sentence for an expression that can't be understood.
    """
    missing: dict[str, None] = {}

    def value_of(expression: re.Match[str]) -> str | None:
        name, operator, operand = _parsed(expression["body"])
        held = environ.get(name) or None
        if operator == ":+":
            return operand or None if held else None
        if operator is None and held is None:
            missing[name] = None
        return held or operand or None

    _refuse_unclosed(text)
    whole = _EXPRESSION.fullmatch(text)
    replaced = value_of(whole) if whole else _EXPRESSION.sub(lambda found: value_of(found) or "", text)
    return Missing(tuple(missing)) if missing else replaced


def has_expression(text: str) -> bool:
    """Whether `text` holds an `${env.…}` expression, well-formed or not."""
    return _OPENING in text


def looks_like_expression(text: str) -> bool:
    """Whether `text` holds a variable as shells write it: `${NAME}` or `${NAME:-other}`, here ordinary text."""
    return _ORDINARY.search(text) is not None


def empty_conditionals(text: str) -> tuple[str, ...]:
    """The variables of `${env.NAME:+}`: nothing whether NAME is set or not, where `:=` was probably meant."""
    return tuple(re.findall(rf"\$\{{env\.({_NAME}):\+\}}", text))


def _parsed(body: str) -> tuple[str, str | None, str]:
    """Name, operator (`:=`, `:+` or None) and operand of the expression with that body."""
    found = _BODY.fullmatch(body)
    if found is None or _OPENING in body:
        raise ValueError(_complaint(body))
    if found["off"]:
        return found["name"], ":=", DISABLED
    return found["name"], found["operator"], found["text"] or ""


def _complaint(body: str) -> str:
    shown = quoted(f"{_OPENING}{body}}}")
    if _OPENING in body:
        return f"the expression {shown} holds another one; write them side by side"
    if mistaken := _MISTAKEN.fullmatch(body):
        meant = f"{_OPENING}{mistaken['name']}:={mistaken['text']}}}"
        return f"the expression {shown} has no operator that is known; a default is written {quoted(meant)}"
    return f"the expression {shown} doesn't start with a variable's name (letters, digits and `_`, no digit first)"


def _refuse_unclosed(text: str) -> None:
    start = text.rfind(_OPENING)
    if start >= 0 and "}" not in text[start:]:
        raise ValueError(f"the expression {quoted(text[start:])} isn't closed; add a `}}`")
