"""The text of a configuration: YAML that this server reads as the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from policy.source.diagnostics import visible
from policy.source.document import Mapping, Node, Scalar, Sequence, plain_value
from policy.source.text import SIZE_LIMIT

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./$~-][A-Za-z0-9_./${}:=+@~-]*")
"""Texts that YAML reads as they are, unless a colon ends them."""

_SHORT_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_STEP: Final = "  "


class TooLarge(Exception):
    """Raised for a text that would be larger than a configuration may be."""


def written(document: Mapping, comments: Iterable[str]) -> str:
    """Return the text of a document, behind one line for each comment; raise TooLarge."""
    parts: list[str] = []
    size = 0
    for part in (*(f"# {visible(line)}".rstrip() for line in comments), *_lines(document, "")):
        size += len(part.encode()) + 1
        if size > SIZE_LIMIT:
            raise TooLarge(f"the file that would be written is larger than {SIZE_LIMIT // 2**20} MiB")
        parts.append(part)
    return "".join(f"{part}\n" for part in parts)


def _lines(node: Mapping | Sequence, indent: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from _value(f"{indent}{_text(key)}:", entry.node, indent + _STEP)
    else:
        for item in node.items:
            yield from _value(f"{indent}-", item, indent + _STEP)


def _value(head: str, node: Node, indent: str) -> Iterator[str]:
    """Yield the lines of a value behind `head`; the lines of a block are indented."""
    if isinstance(node, Scalar):
        yield f"{head} {_scalar(node)}".rstrip()
    elif isinstance(node, Mapping) and node.entries:
        lines = _lines(node, indent)
        if head.endswith("-"):
            yield f"{head} {next(lines).removeprefix(indent)}"
        else:
            yield head
        yield from lines
    elif isinstance(node, Sequence) and node.items:
        yield head
        yield from _lines(node, indent)
    else:
        yield f"{head} {'{}' if isinstance(node, Mapping) else '[]'}"


def _scalar(node: Scalar) -> str:
    if not node.quoted and not isinstance(node.value, str):
        return node.text
    return _text(node.text)


def _text(text: str) -> str:
    """Return a text as YAML reads it back: plain where nothing else can be read in it, else in double quotes."""
    if _PLAIN.fullmatch(text) and text[-1] != ":" and plain_value(text) == text and isinstance(plain_value(text), str):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
