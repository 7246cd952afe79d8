"""Strict readers of base64url and JSON from untrusted sources: exactly one meaning, or an error."""

from __future__ import annotations

import base64
import re
from typing import Any, Final, TypeGuard

from server.json_input.strict import InvalidJson, Repeats, StrictDecoder

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators and lone surrogates: what breaks a log line or can't be written as UTF-8."""


def decode_base64url(text: str) -> bytes:
    """Return the bytes of `text`; raise ValueError unless it is their only spelling, unpadded and without spare
    bits.
    """
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The decoder skips unknown characters; only encoding the bytes again shows that it read the whole text.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode("ascii"):
        raise ValueError("not canonical base64url")
    return decoded


def read_object(data: bytes, *, finite: bool = True) -> dict[str, Any]:
    """Return the JSON object in `data`; raise ValueError for other values, repeated keys, NaN, infinities, invalid
    UTF-8.

    Without `finite`, NaN and infinities are read, and a number that is too large is an infinity. No error text quotes
    the data.
    """
    value = _read(data, _DECODER if finite else _LOOSE)
    if not isinstance(value, dict):
        raise ValueError("not one JSON object with distinct keys and finite numbers")  # noqa: TRY004 - wrong content
    return value


def read_forgiving(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, for lists in which one malformed entry must not spoil the others.

    An object inside it that repeats a key is read as None, and a number that is too large as an infinity. Raises
    ValueError for anything else that `read_object` refuses.
    """
    value = _read(data, _FORGIVING)
    if not isinstance(value, dict):
        raise ValueError("not one JSON object with distinct keys")  # noqa: TRY004 - wrong content
    return value


def read_list(data: bytes) -> list[Any]:
    """Return the JSON array in `data`, read as strictly as an object."""
    value = _read(data, _DECODER)
    if not isinstance(value, list):
        raise ValueError("not one JSON array of plain JSON")  # noqa: TRY004 - wrong content
    return value


def _read(data: bytes, decoder: StrictDecoder) -> object:
    try:
        return decoder.decode(data)
    except InvalidJson:
        return None


def is_plain(value: object, limit: int) -> TypeGuard[str]:
    """Return whether `value` is a text of 1 to `limit` characters without control characters and lone surrogates."""
    return isinstance(value, str) and 0 < len(value) <= limit and not _UNSAFE.search(value)


_DECODER: Final = StrictDecoder()
_LOOSE: Final = StrictDecoder(constants=True, large_floats=True, large_integers=True)
_FORGIVING: Final = StrictDecoder(Repeats.NULL, large_floats=True, large_integers=True)
