"""The number of parts of a JSON text, told before it is parsed: what parsing it and its values take."""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = (b"[", b"{", b",")
_TEXT: Final = re.compile(rb'"[^"]*+"?')


def has_few_signs(raw: bytes, most: int) -> bool:
    """Return whether a JSON text has at most so many brackets, braces, commas and texts, however long these are."""
    if sum(map(raw.count, _SIGNS)) + raw.count(b'"') <= most:
        return True
    # A text may be full of such signs.
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside, texts = _TEXT.subn(b"", plain, count=most)
    return texts + sum(map(outside.count, _SIGNS)) <= most
