"""Sizes in bytes, with units."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BeforeValidator

from server.config.types import refuse, scalar

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,17}) ?(|kB|KB|MB|GB|KiB|MiB|GiB)")
_UNITS: Final = {
    "": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


def size(least: int, most: int, spelled: str) -> BeforeValidator:
    """Return a validator for a number of bytes from `least` to `most`, inclusive; `spelled` describes the range."""
    expected = f"a number of bytes, or one like `100MB` or `1GiB`, {spelled}"

    def count(value: object) -> object:
        if isinstance(value, int):
            return value
        given = scalar(value, expected)
        found = _SIZE.fullmatch(given.text)
        if found is None or not least <= int(found[1]) * _UNITS[found[2]] <= most:
            refuse(given, expected)
        return int(found[1]) * _UNITS[found[2]]

    return BeforeValidator(count)
