"""The tokens of the lines of a batch, as their answers tell them."""

from __future__ import annotations

from collections.abc import Iterable
from json import loads
from typing import Any, Final, NamedTuple

from server.inference.answers.model_name import SMALL, json_members
from server.inference.answers.plain import NotAnAnswer
from server.inference.answers.usage import MOST_TOKENS
from server.json_input.strict import Json

_NAME: Final = b'"usage"'

MOST_END: Final = 4096
"""Bytes at the end of an answer that are read for its tokens before the rest is."""


class Usage(NamedTuple):
    """Numbers of tokens; `cached` are some of the `input`, and `reasoning` some of the `output`."""

    input: int
    cached: int
    output: int
    reasoning: int
    total: int

    @property
    def shown(self) -> Json:
        """The member `usage` of a batch."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total,
        }


NOTHING: Final = Usage(0, 0, 0, 0, 0)


def sum_of(usages: Iterable[Usage]) -> Usage:
    """Return the tokens of all together."""
    return Usage(*map(sum, zip(NOTHING, *usages, strict=True)))


def usage_of(answer: bytes) -> Usage:
    """Return the tokens of which the answer to a line tells; none where its total can't be right.

    A part that is more than what it is a part of counts as not told.
    """
    usage = _members(answer)
    total = usage.get("total_tokens")
    if type(total) is not int or not 0 < total <= MOST_TOKENS:
        return NOTHING
    read, made = (_part(usage, names, total) for names in _PARTS)
    cached, reasoning = (
        _part(_inside(usage, details), (name,), most)
        for (details, name), most in zip(_DETAILS, (read, made), strict=True)
    )
    return Usage(read, cached, made, reasoning, total)


_PARTS: Final = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
"""The names of what was read and of what was made: in responses, and in other answers."""

_DETAILS: Final = (
    (("input_tokens_details", "prompt_tokens_details"), "cached_tokens"),
    (("output_tokens_details", "completion_tokens_details"), "reasoning_tokens"),
)


def _members(answer: bytes) -> dict[str, Any]:
    """Return the member `usage` of an answer; of a large one only the outermost members are read."""
    found: Any = None
    try:
        last = _end_of(answer)
        if last is not None:
            found = last.get("usage")
        elif len(answer) <= SMALL:
            whole = loads(answer)
            found = whole.get("usage") if type(whole) is dict else None
        else:
            for name, start, end in json_members(answer):
                if name == _NAME and end - start <= SMALL:
                    found = loads(answer[start:end])
    except (ValueError, RecursionError, NotAnAnswer):
        return {}
    return found if type(found) is dict else {}


def _end_of(answer: bytes) -> dict[str, Any] | None:
    """Return the last members of an answer, from the last one that is named `usage` on; None where they aren't found.

    What stands before them need not be read, which is most of an answer: what closes the object that they are in ends
    the answer, so that they are outermost.
    """
    at = answer.rfind(_NAME)
    if at < 1 or len(answer) - at > MOST_END or answer[at - 1] not in b"{, \t\r\n":
        return None
    try:
        found = loads(b"{" + answer[at:])
    except ValueError:
        return None  # it is a member of another member, or no member at all
    return found if type(found) is dict and "usage" in found else None


def _inside(usage: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return next((inner for name in names if type(inner := usage.get(name)) is dict), {})


def _part(usage: dict[str, Any], names: tuple[str, ...], most: int) -> int:
    return next((part for name in names if type(part := usage.get(name)) is int and 0 < part <= most), 0)
