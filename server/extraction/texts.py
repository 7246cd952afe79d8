"""From bytes to characters.

A mark of UTF-8, UTF-16 or UTF-32 at the beginning of a text decides its encoding, or else the charset that came with
the file; without both, it is UTF-8 or refused. So a file needs to be read only once, whatever its size. Ends of lines
become line feeds.
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
_WIDE: Final = ("utf-16", "utf-32")
_WITH_CONTROLS: Final = (*_WIDE, "iso2022")
"""Beginnings of the names of charsets whose letters have bytes that are control characters elsewhere."""

_UTF_8: Final = "utf-8"
_WINDOWS_1252: Final = "cp1252"
_CONTROLS_OF_1252: Final = "controls-of-windows-1252"
_MOST_CONTROLS: Final = 0.01
_FEW_CONTROLS: Final = 64
_MOST_WRONG: Final = 0.01
_FEW_WRONG: Final = 3
_CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\b\x1b") + b"\x7f"
_NO_TEXT: Final = f"the file is not of a known kind and no text; {READABLE}"
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_HEAD: Final = 4096


class WrongCharset(Unreadable):
    """A text is not in the charset that it is said to be in, or is no UTF-8 and nothing says what else it is."""


def decoded(blocks: Iterable[bytes], named: str | None = None) -> Iterator[str]:
    """Yield the text of a file in blocks, none of them empty; raises Unreadable if it is no text.

    `named` is the charset that the file is said to be in, which a mark at its beginning goes before.
    """
    decoder: _Decoder | None = None
    for block in blocks:
        if decoder is None:
            charset, mark = _charset(block, named)
            decoder = _Decoder(charset, mark)
        elif decoder.is_bytewise and _is_binary(block, but_for=_FEW_CONTROLS):
            raise Unreadable(Code.UNSUPPORTED_FILE, _NO_TEXT)
        if text := decoder.text(block):
            yield clean(text)
    if decoder is not None and (text := decoder.text(b"", final=True)):
        yield clean(text)


class _Decoder:
    """Decodes a text block by block. UTF-8 has to be right; of other charsets a few characters may be wrong."""

    def __init__(self, charset: str, mark: int) -> None:
        self.is_bytewise = not mark and not charset.startswith(_WITH_CONTROLS)
        self._charset = charset
        errors = {_UTF_8: "strict", _WINDOWS_1252: _CONTROLS_OF_1252}.get(charset, "replace")
        self._decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder(charset)(errors), translate=True)
        self._mark = mark
        self._read = 0
        self._characters = 0
        self._wrong = 0

    def text(self, block: bytes, *, final: bool = False) -> str:
        """Return the text of a block; raises Unreadable."""
        block, self._mark = block[self._mark :], 0
        self._read += len(block)
        try:
            text = self._decoder.decode(block, final=final)
        except UnicodeDecodeError as fault:
            if _is_binary(fault.object[fault.start :]):
                raise Unreadable(Code.UNSUPPORTED_FILE, _NO_TEXT) from None
            raise _no_utf_8(self._read - len(fault.object) + fault.start) from None
        self._characters += len(text)
        self._wrong += text.count("\ufffd")
        if self._wrong > max(_FEW_WRONG, self._characters * _MOST_WRONG):
            sentence = f"the file is said to be in the charset `{self._charset}`, and is not; save it as UTF-8"
            raise WrongCharset(Code.UNSUPPORTED_FILE, sentence)
        return text


def _no_utf_8(place: int) -> WrongCharset:
    sentence = (
        f"the text is not UTF-8, since its byte {place:,} is none, and nothing says what else it is; save it as UTF-8,"
        " or name its charset in the upload's content type, such as `text/plain; charset=windows-1252`"
    )
    return WrongCharset(Code.UNSUPPORTED_FILE, sentence)


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
    if named is not None and named.startswith(_WIDE):
        return (named if named.endswith("e") else f"{named}-{_order(head, named)}"), 0
    if (named is None or not named.startswith(_WITH_CONTROLS)) and _is_binary(head):
        raise Unreadable(Code.UNSUPPORTED_FILE, _NO_TEXT)
    return named or _UTF_8, 0


def _order(head: bytes, named: str) -> str:
    """Return the order of bytes of a text without a mark: in most texts, most high bytes are zero."""
    width = 2 if named.startswith("utf-16") else 4
    first, last = (head[place:_HEAD:width].count(0) for place in (0, width - 1))
    return "be" if first > last else "le"


def _is_binary(block: bytes, but_for: int = 0) -> bool:
    """Return whether a block has more control characters than texts have; so many may be in any."""
    controls = len(block) - len(block.translate(None, _CONTROLS))
    return controls > max(but_for, len(block) * _MOST_CONTROLS)


def _as_controls(fault: UnicodeError) -> tuple[str, int]:
    """Take the five bytes that Windows-1252 leaves out for control characters, as browsers do."""
    if not isinstance(fault, UnicodeDecodeError):
        raise fault
    return fault.object[fault.start : fault.end].decode("latin-1"), fault.end


codecs.register_error(_CONTROLS_OF_1252, _as_controls)
for _charset_of_mark in (*(charset for _, charset in _MARKS), "latin-1"):
    codecs.lookup(_charset_of_mark)  # no decoder can be loaded once the walls stand
