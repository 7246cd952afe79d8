"""Decoding of a file to text that is safe to parse: size, encoding, and no characters that hide or mislead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from policy.source.diagnostics import Diagnostic, InvalidDocument, Severity, Span

SIZE_LIMIT: Final = 8 * 1024 * 1024
"""Largest file that is read, in bytes."""

_BYTE_ORDER_MARK: Final = "\ufeff"
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

# The last three of the first class are line breaks in YAML 1.1 only: line numbers would differ from an editor's.
_FORBIDDEN_CHARACTER: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]|\r(?!\n)"
)
_INDENTING_TAB: Final = re.compile(r"^ *(\t)", re.MULTILINE)


def read_text(path: Path, name: str) -> str:
    """Return the text of the UTF-8 file at `path`, which diagnostics call `name`.

    Raises `InvalidDocument` for a file that can't be read, is larger than `SIZE_LIMIT` or isn't UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise refusal("unreadable-file", Span(name, 1, 1), f"cannot read the file: {error.strerror}") from error
    except ValueError as error:
        raise refusal("unreadable-file", Span(name, 1, 1), "cannot read the file: its name holds a NUL") from error
    if len(content) > SIZE_LIMIT:
        raise refusal("too-large", Span(name, 1, 1), f"the file is larger than {SIZE_LIMIT // 2**20} MiB")
    return decoded(content, name)


def decoded(content: bytes, name: str) -> str:
    """Return `content` as text; raise `InvalidDocument` at the first byte that isn't UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        found = "UTF-16" if content.startswith(_UTF_16_MARKS) else f"the byte 0x{content[error.start]:02x}"
        raise refusal(
            "not-utf-8", place(before, len(before), name), f"the file isn't UTF-8: found {found}", "save it as UTF-8"
        ) from error


def checked(text: str, name: str) -> str:
    """Return `text` without a byte order mark; raise `InvalidDocument` for text that no file should hold.

    Refused are control characters, line breaks that editors don't count, lone surrogates and tabs that indent.
    """
    if len(text) > SIZE_LIMIT:
        raise refusal("too-large", Span(name, 1, 1), f"the file is larger than {SIZE_LIMIT // 2**20} MiB")
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if found := _FORBIDDEN_CHARACTER.search(text):
        raise refusal(
            "control-character",
            place(text, found.start(), name),
            f"the file holds the control character U+{ord(found[0]):04X}",
            "remove it, or write it as an escape in double quotes",
        )
    if found := _INDENTING_TAB.search(text):
        raise refusal(
            "tab", place(text, found.start(1), name), "a tab indents this line", "YAML indents with spaces alone"
        )
    return text


def place(text: str, offset: int, name: str) -> Span:
    """Return the span of the character at `offset`."""
    before = text[:offset]
    return Span(name, before.count("\n") + 1, offset - before.rfind("\n"))


def refusal(code: str, span: Span, message: str, hint: str = "") -> InvalidDocument:
    """Return the exception for a file with one finding that ends the reading."""
    return InvalidDocument([Diagnostic(Severity.ERROR, code, message, span, hint)])
