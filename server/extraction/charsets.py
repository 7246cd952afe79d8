"""Charsets that files name, and codecs that libraries look up: all are loaded before the walls are built."""

from __future__ import annotations

import codecs
from contextlib import suppress
from typing import Final

_NAMES: Final = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii", "latin-1", "mac-roman", "koi8-r", "koi8-u"),
    *(f"iso8859-{number}" for number in (*range(2, 11), *range(13, 17))),
    *(f"cp125{number}" for number in range(9)),
    *("cp437", "cp850", "cp866", "cp874", "cp932", "cp949", "cp950", "big5", "gb2312", "gbk", "gb18030"),
    *("shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "iso2022_kr"),
)
_KNOWN: Final = frozenset(codecs.lookup(name).name for name in _NAMES)


def charset_named(name: str) -> str | None:
    """Return the charset with a name; None if it is none of those that files may name."""
    with suppress(LookupError, ValueError):
        found = codecs.lookup(name.strip()).name
        if found in _KNOWN:
            return "cp1252" if found in ("ascii", "iso8859-1") else found  # as browsers do
    return None


for _name in ("raw-unicode-escape", "unicode-escape", "us-ascii", "utf-7", "hex"):
    codecs.lookup(_name)
