"""Reading what strangers wrote: one meaning, or a refusal."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any, Final, TypeGuard

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators and lone surrogates: what breaks a log line or can't be written as UTF-8."""


def decode_base64url(text: str) -> bytes:
    """The bytes that `text` spells; ValueError unless it is their one spelling, unpadded and without spare bits."""
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The decoder skips what it doesn't know; only writing the bytes again shows whether it read all of the text.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode("ascii"):
        raise ValueError("not canonical base64url")
    return decoded


def read_object(data: bytes, *, finite: bool = True) -> dict[str, Any]:
    """The JSON object in `data`; ValueError for anything else, for repeated keys, for NaN, infinities, wrong UTF-8.

    Without `finite`, NaN and infinities are read, and a number that is too large is an infinity. No error text quotes
    the data.
    """
    value = _read(data, _DECODER if finite else _LOOSE)
    if not isinstance(value, dict):
        raise ValueError("not one JSON object with distinct keys and finite numbers")  # noqa: TRY004 - wrong content
    return value


def read_forgiving(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, for a list of entries of which an odd one must not spoil the others.

    An object inside it that repeats a key is read as None, and a number that is too large as an infinity. Raises
    ValueError for anything else that `read_object` refuses.
    """
    value = _read(data, _FORGIVING)
    if not isinstance(value, dict):
        raise ValueError("not one JSON object with distinct keys")  # noqa: TRY004 - wrong content
    return value


def read_list(data: bytes) -> list[Any]:
    """The JSON array in `data`, read as strictly as an object."""
    value = _read(data, _DECODER)
    if not isinstance(value, list):
        raise ValueError("not one JSON array of plain JSON")  # noqa: TRY004 - wrong content
    return value


def _read(data: bytes, decoder: json.JSONDecoder) -> object:
    try:
        return decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def is_plain(value: object, limit: int) -> TypeGuard[str]:
    """Whether `value` is a text of 1 to `limit` characters, none of them a control character or a lone surrogate."""
    return isinstance(value, str) and 0 < len(value) <= limit and not _UNSAFE.search(value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _distinct_or_none(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _any_size(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return math.inf


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_refuse_constant)
_LOOSE: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=_any_size)
_FORGIVING: Final = json.JSONDecoder(
    object_pairs_hook=_distinct_or_none, parse_int=_any_size, parse_constant=_refuse_constant
)
