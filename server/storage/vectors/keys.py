"""The names of stores and parts in an index, of which no other text may be made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

LARGEST_PART: Final = 2**63 - 1
"""The largest number of a part."""

_KEY: Final = re.compile(r"[0-9a-f]{32}")


def checked(key: str) -> str:
    """Return the key, which must have the server's format, so that no other text becomes the name of a table."""
    if not _KEY.fullmatch(key):
        raise ValueError("the key of a store has 32 hexadecimal digits")
    return key


def numbers(parts: Sequence[int]) -> list[int]:
    """Return the parts without repetitions, which must be whole numbers from 0 on that have 63 bits."""
    found = dict.fromkeys(parts)
    if not all(type(part) is int and 0 <= part <= LARGEST_PART for part in found):
        raise ValueError("a part is a whole number of 63 bits")
    return list(found)
