"""Texts and token ids in the place of texts, as embeddings and completions take them.

Checks of bodies may run in a worker process, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from server.http.body_checks import wrong

MOST_INPUTS: Final = 2048
"""Texts, or lists of token ids, of one request."""

LARGEST_ID: Final = 2**31 - 1
"""A token id; larger ones overflow the integers of inference engines."""

BYTES_OF_A_TOKEN: Final = 4
"""Bytes of text that an estimate takes for a token, where no tokenizer says."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The number of texts in a member, and an estimate of their tokens."""

    count: int
    tokens: int


def inputs_of(value: Any, name: str, *, may_be_empty: bool) -> Inputs:
    """Return what the member `name` holds: a text, token ids, or a list of either.

    Raises InvalidJson for anything else, at the member as a whole, since clients know no other place. A text may be
    empty if `may_be_empty`.
    """
    match value:
        case str():
            return Inputs(1, _text_tokens([value], name, may_be_empty=may_be_empty))
        case [str(), *_]:
            _check_count(value, name)
            return Inputs(len(value), _text_tokens(value, name, may_be_empty=may_be_empty))
        case [int(), *_]:
            _check_ids(value, name, name)
            return Inputs(1, len(value))
        case [list(), *_]:
            _check_count(value, name)
            for index, ids in enumerate(value):
                _check_ids(ids, f"{name}[{index}]", name)
            return Inputs(len(value), sum(map(len, value)))
        case []:
            raise wrong(name, "must not be an empty list")
    raise _no_input(name)


def _text_tokens(texts: Iterable[Any], name: str, *, may_be_empty: bool) -> int:
    tokens = 0
    for index, text in enumerate(texts):
        if type(text) is not str:
            raise _no_input(name)
        if not text and not may_be_empty:
            raise wrong(name, f"must hold no empty text; number {index} is one")
        tokens += len(text.encode()) // BYTES_OF_A_TOKEN + 1
    return tokens


def _check_count(values: list[Any], name: str) -> None:
    if len(values) > MOST_INPUTS:
        raise wrong(name, f"must hold at most {MOST_INPUTS} texts; send the others in another request")


def _check_ids(ids: Any, place: str, name: str) -> None:
    if type(ids) is not list:
        raise _no_input(name)
    if not ids:
        raise wrong(name, f"must hold no empty list; `{place}` is one")
    # A list of true and false has another type than one of numbers.
    if {*map(type, ids)} != {int}:
        raise _no_input(name)
    if min(ids) < 0 or max(ids) > LARGEST_ID:
        raise wrong(name, f"must hold token ids from 0 to {LARGEST_ID}")


def _no_input(name: str) -> Exception:
    return wrong(name, "must be a text, a list of texts, a list of token ids, or a list of lists of token ids")
