"""Quoting for Rego: literals, comments and places. The only module that writes text from users into code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# Characters that JSON and YAML allow but that mislead a reader or a line-based tool.
_INVISIBLE = re.compile("[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]")
_OF_ANOTHER_LINE = re.compile("[\x00-\x1f\ud800-\udfff]")
_LITERAL_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|#[^\n]*')
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_JSON = json.JSONEncoder(ensure_ascii=False)
_KEYWORDS = frozenset(
    {"as", "contains", "data", "default", "else", "every", "false", "if", "import", "in", "input", "not", "null"}
    | {"package", "set", "some", "true", "with", "and", "or"}
)


def string_literal(text: str) -> str:
    """Return `text` as a Rego string: one JSON string literal on one line.

    Raises ValueError for text that UTF-8 can't encode (lone surrogates).
    """
    text.encode()
    literal = _JSON.encode(text)
    return _INVISIBLE.sub(_escape, literal)


def plain(text: str) -> str:
    """Return `text` on one line that UTF-8 can encode, with line ends and invisible characters escaped as in a literal.

    For names of files, which may hold any character.
    """
    return _OF_ANOTHER_LINE.sub(_escape, _INVISIBLE.sub(_escape, text))


def comment(text: str) -> str:
    """Return `text` as a comment of exactly one line, including the line end."""
    return f"# {plain(text)}\n"


def raw_literal(pattern: str) -> str:
    """Return a regular expression as a Rego raw string.

    Raises ValueError for a character that a raw string can't hold.
    """
    if "`" in pattern or not pattern.isprintable():
        raise ValueError("a raw string holds printable characters without back-quotes")
    return f"`{pattern}`"


def without_literals(code: str) -> str:
    """Return Rego without the contents of its strings and without its comments; the rest never comes from a user."""
    return _LITERAL_OR_COMMENT.sub("", code)


def member(name: str) -> str:
    """Return an access to the member `name`, spelled as `opa fmt` does."""
    if _IDENTIFIER.match(name) and name not in _KEYWORDS:
        return f".{name}"
    return f"[{string_literal(name)}]"


def equals_any(reference: str, values: Iterable[str]) -> str:
    """Return a test that `reference` is one of `values`, as `==` for one value."""
    literals = [string_literal(value) for value in values]
    if len(literals) == 1:
        return f"{reference} == {literals[0]}"
    return f"{reference} in {{{', '.join(literals)}}}"


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
