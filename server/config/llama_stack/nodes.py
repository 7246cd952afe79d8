"""Small steps on the tree of a file; nothing changes a node in place, since aliases share nodes."""

from __future__ import annotations

import re
from typing import Final

from policy.source.diagnostics import Span
from policy.source.document import Entry, Mapping, Node, Scalar, Sequence, plain_value
from policy.source.environment import has_expression

Entries = dict[str, Entry]
"""The keys of a mapping under construction, with their values."""

_OPERAND: Final = re.compile(r"\$\{env\.[A-Za-z_][A-Za-z0-9_]*:[+=]([^}]*)\}")
_EMPTY: Final = re.compile(r"\$\{env\.[A-Za-z_][A-Za-z0-9_]*:(?:=|\+[^}]*)\}")


def entries(node: Node | None) -> Entries:
    """Return a copy of the entries of a mapping; none for anything else."""
    return dict(node.entries) if isinstance(node, Mapping) else {}


def items(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; none for anything else."""
    return node.items if isinstance(node, Sequence) else ()


def below(node: Node | None, *keys: str) -> Node | None:
    """Return the value that the keys lead to; None where one of them is missing."""
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, Mapping) else None
        node = None if entry is None else entry.node
    return node


def text_of(node: Node | None) -> str | None:
    """Return the text of a scalar; None for anything else and for an empty value."""
    return node.text if isinstance(node, Scalar) and node.value is not None else None


def is_null(node: Node) -> bool:
    """Return whether the value is empty: `null`, `~` or nothing."""
    return isinstance(node, Scalar) and node.value is None


def is_nothing(node: Node) -> bool:
    """Return whether the value is empty, an empty list or an empty mapping."""
    if isinstance(node, Scalar):
        return node.value is None
    return not (node.items if isinstance(node, Sequence) else node.entries)


def meant(text: str) -> str | None:
    """Return the word that a text stands for in some environment: itself, or that of `${env.NAME:+word}`.

    None where the environment alone says it.
    """
    if not has_expression(text):
        return text
    whole = _OPERAND.fullmatch(text)
    return whole[1] or None if whole else None


def may_be_nothing(node: Node) -> bool:
    """Return whether the value is one variable that may leave it empty: `${env.NAME:=}` or `${env.NAME:+…}`."""
    return isinstance(node, Scalar) and _EMPTY.fullmatch(node.text) is not None


def quoted_text(text: str, span: Span) -> Scalar:
    """Return a text that YAML doesn't read as anything else."""
    return Scalar(text, text, quoted=True, span=span)


def plain_text(text: str, span: Span) -> Scalar:
    """Return a scalar without quotes, with the value that YAML reads in it."""
    return Scalar(text, plain_value(text), quoted=False, span=span)


def block(values: dict[str, Node], span: Span) -> Mapping:
    """Return a mapping of these values, each of whose keys stands at `span`."""
    return Mapping({key: Entry(span, node) for key, node in values.items()}, span)
