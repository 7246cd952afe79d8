"""Environment variables in configuration values: `${env.NAME}` and its forms with a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from policy.source.diagnostics import quoted

DISABLED: Final = "__disabled__"
"""The id of a resource that `${env.NAME:=__disabled__}` disables when NAME is unset: it isn't registered."""

_EXPRESSION: Final = re.compile(r"\$\{env\.(?P<body>[^}]*)\}")
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_BODY: Final = re.compile(rf"(?P<name>{_NAME})(?:(?P<operator>:[=+])(?P<text>.*)|:(?P<off>{DISABLED}))?", re.DOTALL)
_MISTAKEN: Final = re.compile(rf"(?P<name>{_NAME})(?::[-?]?|-)(?P<text>.*)", re.DOTALL)
_OPERAND: Final = re.compile(r"(?<=[:=?+-])[^:=?+}-][^}]*")
_OPENING: Final = "${env."
_ORDINARY: Final = re.compile(rf"\$\{{(?!env\.){_NAME}(?::?[-+=?][^}}]*)?\}}")


@dataclass(frozen=True, slots=True)
class Missing:
    """Raised for variables that a text needs and the environment lacks; each name once, in the order of the text."""

    names: tuple[str, ...]


def substitute(text: str, environ: Mapping[str, str]) -> str | Missing | None:
    """Return `text` with its expressions replaced once; the value of a variable is never expanded again.

    An empty variable counts as unset; `:+` without a text stands for the variable's own value. A text that is one whole
    expression may give None; inside a longer text an absent value is empty. Raises `ValueError` with one sentence for a
    malformed expression, and for one whose default holds a brace, since its first `}` ends it.
    """
    missing: dict[str, None] = {}

    def value_of(expression: re.Match[str]) -> str | None:
        name, operator, operand = _parsed(expression["body"])
        held = environ.get(name) or None
        if operator == ":+":
            return operand or held if held else None
        if operator is None and held is None:
            missing[name] = None
        return held or operand or None

    _refuse_unclosed(text)
    _refuse_cut(text)
    whole = _EXPRESSION.fullmatch(text)
    replaced = value_of(whole) if whole else _EXPRESSION.sub(lambda found: value_of(found) or "", text)
    return Missing(tuple(missing)) if missing else replaced


def has_expression(text: str) -> bool:
    """Return whether `text` holds an `${env.…}` expression, well-formed or not."""
    return _OPENING in text


def looks_like_expression(text: str) -> bool:
    """Return whether `text` holds a variable as shells write it: `${NAME}` or `${NAME:-other}`, here ordinary text."""
    return _ORDINARY.search(text) is not None


def empty_conditionals(text: str) -> tuple[str, ...]:
    """Return the variables of `${env.NAME:+}`, which stands for their own value and is better written `:=`."""
    return tuple(re.findall(rf"\$\{{env\.({_NAME}):\+\}}", text))


def about_empty_conditional(name: str) -> tuple[str, str]:
    """Return the message and the hint of a warning about `${env.NAME:+}` where NAME is set."""
    return f"`${{env.{name}:+}}` gives the value of `{name}`", f"`${{env.{name}:=}}` says the same, and is meant for it"


def _parsed(body: str) -> tuple[str, str | None, str]:
    """Return the name, operator (`:=`, `:+` or None) and operand of an expression's body."""
    found = _BODY.fullmatch(body)
    if found is None or _OPENING in body:
        raise ValueError(_complaint(body))
    if found["off"]:
        return found["name"], ":=", DISABLED
    return found["name"], found["operator"], found["text"] or ""


def _complaint(body: str) -> str:
    shown = quoted(_without_operand(f"{_OPENING}{body}}}"))
    if _OPENING in body:
        return f"the expression {shown} holds another one; write them side by side"
    if mistaken := _MISTAKEN.fullmatch(body):
        meant = f"{_OPENING}{mistaken['name']}:={'…' if mistaken['text'] else ''}}}"
        return f"the expression {shown} has no operator that is known; a default is written {quoted(meant)}"
    return f"the expression {shown} doesn't start with a variable's name (letters, digits and `_`, no digit first)"


def _refuse_unclosed(text: str) -> None:
    start = text.rfind(_OPENING)
    if start >= 0 and "}" not in text[start:]:
        raise ValueError(f"the expression {quoted(_without_operand(text[start:]))} isn't closed; add a `}}`")


def _without_operand(expression: str) -> str:
    """Return the expression with an ellipsis for its default, which may be a secret."""
    return _OPERAND.sub("…", expression, count=1)


def _refuse_cut(text: str) -> None:
    """Raise for a text or a default that continues after the first `}`, which ends its expression."""
    opened, position = 0, 0
    operand: str | None = None
    expressions = list(_EXPRESSION.finditer(text))
    if any(_OPENING in found["body"] for found in expressions):
        return  # reported by another message
    for found in expressions:
        opened, cut = _unpaired(text, position, found.start(), opened)
        _refuse_leftover(operand, cut)
        written = _BODY.fullmatch(found["body"])
        if written and written["operator"]:
            operand = f"{_OPENING}{written['name']}{written['operator']}…}}"
            if "{" in (written["text"] or ""):
                raise ValueError(_cut(operand, found.end(), "a `{` in front of it is still open"))
        position = found.end()
    _refuse_leftover(operand, _unpaired(text, position, len(text), opened)[1])


def _unpaired(text: str, start: int, end: int, opened: int) -> tuple[int, int | None]:
    """Return how many braces are open at `end`, and the place of the first `}` without a `{`."""
    for position in range(start, end):
        if text[position] == "{":
            opened += 1
        elif text[position] == "}":
            if not opened:
                return 0, position
            opened -= 1
    return opened, None


def _refuse_leftover(operand: str | None, cut: int | None) -> None:
    if operand is not None and cut is not None:
        raise ValueError(_cut(operand, None, f"a `}}` without a `{{` is left over as character {cut + 1} of the text"))


def _cut(operand: str, end: int | None, why: str) -> str:
    where = "its first `}`" if end is None else f"the `}}` that is character {end} of the text"
    return f"the expression `{operand}` ends at {where}, and {why}; a default holds no braces: set the variable instead"
