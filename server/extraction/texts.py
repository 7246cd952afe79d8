"""From bytes to characters.

A text begins with a mark of UTF-8, UTF-16 or UTF-32, or is UTF-8; bytes that are no UTF-8 are read as Windows-1252. So
a file needs to be read only once, whatever its size. Ends of lines become line feeds.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from io import IncrementalNewlineDecoder
from typing import Final

from server.extraction.kinds import READABLE
from server.extraction.pieces import Code, Unreadable

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHERS: Final = "windows-1252-for-the-rest"
_MOST_HIGH: Final = 0.3
_FEW_HIGH: Final = 32
_MOST_CONTROLS: Final = 0.01
_FEW_CONTROLS: Final = 64
_CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\b\x1b") + b"\x7f"
_HIGH: Final = bytes(range(128, 256))
_NO_TEXT: Final = f"the file is not of a known kind and no text; {READABLE}"
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def decoded(blocks: Iterable[bytes], named: str | None = None) -> Iterator[str]:
    """Return the text of a file in blocks, none of them empty; raises Unreadable if it is no text.

    `named` is the charset that the file itself names, which a mark at its beginning goes before.
    """
    decoder: IncrementalNewlineDecoder | None = None
    mark = 0
    for block in blocks:
        if decoder is None:
            charset, mark = _charset(block, named)
            decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder(charset)(_errors(charset)), translate=True)
            block = block[mark:]
        elif not mark and _is_binary(block, but_for=_FEW_CONTROLS):
            raise Unreadable(Code.UNSUPPORTED_FILE, _NO_TEXT)
        if text := decoder.decode(block):
            yield clean(text)
    if decoder is not None and (text := decoder.decode(b"", final=True)):
        yield clean(text)


def clean(text: str) -> str:
    """Return a text that every database and encoding takes: NUL becomes a blank, half a surrogate pair U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", " ")
    if not text.isascii() and _SURROGATES.search(text):
        text = _SURROGATES.sub("\ufffd", text)
    return text


def _charset(head: bytes, named: str | None) -> tuple[str, int]:
    """Return the charset of a file that begins with this block, and the bytes of its mark."""
    for mark, charset in _MARKS:
        if head.startswith(mark):
            return charset, len(mark)
    if _is_binary(head):
        raise Unreadable(Code.UNSUPPORTED_FILE, _NO_TEXT)
    if named is not None:
        return named, 0
    high = len(head) - len(head.translate(None, _HIGH))
    if high > max(_FEW_HIGH, len(head) * _MOST_HIGH) and not _is_utf8(head):
        sentence = "the text is neither UTF-8 nor Windows-1252, and no mark says what it is; save it as UTF-8"
        raise Unreadable(Code.UNSUPPORTED_FILE, sentence)
    return "utf-8", 0


def _is_binary(block: bytes, but_for: int = 0) -> bool:
    """Return whether a block has more control characters than texts have; so many may be in any."""
    controls = len(block) - len(block.translate(None, _CONTROLS))
    return controls > max(but_for, len(block) * _MOST_CONTROLS)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _errors(charset: str) -> str:
    return _OTHERS if charset == "utf-8" else "replace"


def _as_windows_1252(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeDecodeError):
        raise fault
    wrong = fault.object[fault.start : fault.end]
    return "".join([_windows_1252[byte] for byte in wrong]), fault.end


_windows_1252: Final = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)]
codecs.register_error(_OTHERS, _as_windows_1252)
for _, _charset_of_mark in _MARKS:
    codecs.lookup(_charset_of_mark)  # no decoder can be loaded once the walls stand
