"""Names of files in forms, in each of the ways that clients write a name that isn't ASCII."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from quopri import decodestring
from typing import Final
from urllib.parse import unquote_to_bytes

_EXTENDED: Final = re.compile(rb";[ \t]*filename\*=([^\s;]*)", re.IGNORECASE)
_IN_PIECES: Final = re.compile(rb";[ \t]*filename\*[0-9]", re.IGNORECASE)
_VALUE: Final = re.compile(rb"([A-Za-z0-9_-]{1,40})'[A-Za-z0-9-]{0,40}'((?:[!#$&+.^_`|~0-9A-Za-z-]|%[0-9A-Fa-f]{2})*)")
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_WORD: Final = r"=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z-]*)?\?([bBqQ])\?([!->@-~]*)\?="
_WORDS: Final = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})*")
_CHARSETS: Final = frozenset({"utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})


class UnreadableName(ValueError):
    """A name can't be read; the message ends a sentence about the form."""


def extended_name(disposition: bytes) -> str | None:
    """Return the `filename*` of a well-formed `Content-Disposition`, as RFC 8187 has it; None if there is none."""
    plain = _QUOTED.sub(b'""', disposition)
    if _IN_PIECES.search(plain):
        raise UnreadableName("a `filename` comes in pieces (`filename*0`); send it in one")
    found = _EXTENDED.search(plain)
    if found is None:
        return None
    value = _VALUE.fullmatch(found[1])
    if value is None:
        raise UnreadableName("its `filename*` is not written as `UTF-8''name`, with `%` and two digits for other bytes")
    return _decoded(unquote_to_bytes(value[2]), value[1].decode(), "`filename*`")


def decoded_words(name: str) -> str:
    """Return a name, whose encoded words, as RFC 2047 has them, are decoded."""
    if not _WORDS.fullmatch(name):
        return name
    return "".join(_word(*found.groups()) for found in re.finditer(_WORD, name))


def _word(charset: str, coding: str, text: str) -> str:
    try:
        raw = b64decode(text, validate=True) if coding in "bB" else decodestring(text.encode(), header=True)
    except Error:
        raise UnreadableName("the encoded words of its `filename` are broken") from None
    return _decoded(raw, charset, "`filename`")


def _decoded(raw: bytes, charset: str, member: str) -> str:
    if charset.lower() not in _CHARSETS:
        raise UnreadableName(f"its {member} is in a character set that isn't known here; use UTF-8")
    try:
        return raw.decode(charset)
    except UnicodeDecodeError:
        raise UnreadableName(f"its {member} isn't in the character set that it names") from None
