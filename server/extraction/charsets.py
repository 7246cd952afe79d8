"""Charsets that files name, and codecs that libraries look up: all are loaded before the walls are built.

A name is looked for in a table and nowhere else, so that one from a file never makes Python import anything.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import Final

_NAMES: Final = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii", "latin-1"),
    *(f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17))),
    *(f"cp125{number}" for number in range(9)),
    *("cp437", "cp720", "cp737", "cp775", "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862"),
    *("cp863", "cp864", "cp865", "cp866", "cp869", "cp874", "cp1125", "koi8-r", "koi8-t", "koi8-u", "kz1048"),
    *("mac-roman", "mac-latin2", "mac-greek", "mac-cyrillic", "mac-turkish", "hp-roman8", "ptcp154"),
    *("cp932", "cp949", "cp950", "big5", "big5hkscs", "gb2312", "gbk", "gb18030", "hz", "johab"),
    *("shift_jis", "shift_jis_2004", "shift_jisx0213", "euc_jp", "euc_jis_2004", "euc_jisx0213", "euc_kr"),
    *("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_2004", "iso2022_jp_ext", "iso2022_kr"),
)
_WIDER: Final = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Charsets that browsers read as a larger one, since files that name the smaller one often are in that."""

_OURS: Final = {
    "iso_8859_8_i": "iso8859-8",
    "iso_8859_8_e": "iso8859-8",
    "unicode_1_1_utf_8": "utf-8",
    "windows_31j": "cp932",
    "windows_874": "cp874",
}
"""Names that Python doesn't have."""

_NO_LETTER: Final = re.compile("[^a-z0-9]+")


def charset_named(name: str) -> str | None:
    """Return Python's name of the charset with a name; None if it is none of those that files may name."""
    told = _normal(name)
    found = _KNOWN.get(told) or _KNOWN.get(told.removeprefix("x_"))
    return None if found is None else _WIDER.get(found, found)


def _normal(name: str) -> str:
    return _NO_LETTER.sub("_", name.strip().lower()).strip("_")


def _loaded() -> dict[str, str]:
    """Load all charsets, and return Python's names of them by every name that they have."""
    found = dict(_OURS)
    modules = dict[str, str]()
    for name in _NAMES:
        codec = codecs.lookup(name).name
        b"aaaa".decode(codec, "replace")  # some load their tables only now
        codecs.getincrementaldecoder(codec)
        found[_normal(name)] = found[_normal(codec)] = codec
        modules[_normal(aliases.get(_normal(name), name))] = codec
    for alias, module in aliases.items():
        if (codec_of := modules.get(_normal(module))) is not None:
            found[_normal(alias)] = codec_of
    return found


_KNOWN: Final = _loaded()

for _name in ("raw-unicode-escape", "unicode-escape", "us-ascii", "utf-7", "hex"):
    codecs.lookup(_name)
