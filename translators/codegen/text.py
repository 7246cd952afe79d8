"""How text is written into Rego, literals, comments and places alike: the only place where user text meets code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# Characters that JSON and YAML let stand but that a reader or a line-based tool would stumble over.
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
    """`text` as a Rego string: one JSON string literal on one line, whatever the text holds.

    Raises ValueError for text that UTF-8 can't carry (lone surrogates).
    """
    text.encode()
    literal = _JSON.encode(text)
    return _INVISIBLE.sub(_escape, literal)


def plain(text: str) -> str:
    """`text` on one line that UTF-8 can carry: what would end a line or can't be seen is an escape, as in a literal.

    For names of files, which may hold any character at all.
    """
    return _OF_ANOTHER_LINE.sub(_escape, _INVISIBLE.sub(_escape, text))


def comment(text: str) -> str:
    """`text` as a comment: one line, with its end, whatever the text holds."""
    return f"# {plain(text)}\n"


def raw_literal(pattern: str) -> str:
    """A regular expression as a Rego raw string.

    Raises ValueError where the dialect let through what a raw string can't hold.
    """
    if "`" in pattern or not pattern.isprintable():
        raise ValueError("a raw string holds printable characters without back-quotes")
    return f"`{pattern}`"


def without_literals(code: str) -> str:
    """Rego without the contents of its strings and without its comments: what is left is ours, never a user's."""
    return _LITERAL_OR_COMMENT.sub("", code)


def member(name: str) -> str:
    """Access to a member called `name`, spelled as `opa fmt` spells it."""
    if _IDENTIFIER.match(name) and name not in _KEYWORDS:
        return f".{name}"
    return f"[{string_literal(name)}]"


def equals_any(reference: str, values: Iterable[str]) -> str:
    """A test that `reference` is one of `values`, as `==` where there is one."""
    literals = [string_literal(value) for value in values]
    if len(literals) == 1:
        return f"{reference} == {literals[0]}"
    return f"{reference} in {{{', '.join(literals)}}}"


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
