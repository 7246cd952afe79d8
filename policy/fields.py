"""Readers for the fields of a rule: texts, lists of texts and known keys, with a diagnostic for each mistake."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from collections.abc import Mapping as ReadOnlyMapping
from typing import Final

from policy.rules import Clause
from policy.source.diagnostics import Findings, did_you_mean, quoted
from policy.source.document import Mapping, Node, Scalar, Sequence
from policy.source.environment import has_expression

NO_MOVES: ReadOnlyMapping[str, str] = {}

_SYNONYMS: Final = {"allow": "permit", "block": "forbid", "deny": "forbid", "grant": "permit"}
"""What other policy languages call the effects of rules."""


def one_text(node: Node, key: str, findings: Findings) -> Scalar | None:
    """Return the scalar of a field that takes one text; report anything else and return None."""
    if not isinstance(node, Scalar):
        findings.error("not-a-text", node.span, f"`{key}` takes one text, not {kind_of(node)}")
        return None
    return node if _is_usable(node, key, findings) else None


def one_or_more_texts(node: Node, key: str, findings: Findings) -> tuple[Scalar, ...]:
    """Return the scalars of a field that takes a text or a list of texts; report unusable entries and leave
    them out.
    """
    if isinstance(node, Mapping):
        findings.error("not-a-text", node.span, f"`{key}` takes a text or a list of texts, not {kind_of(node)}")
        return ()
    if isinstance(node, Scalar):
        return (node,) if _is_usable(node, key, findings) else ()
    if not node.items:
        findings.error("empty-list", node.span, f"`{key}` is an empty list", "write at least one value")
    found = (one_text(item, key, findings) for item in node.items)
    return tuple(scalar for scalar in found if scalar is not None)


def description(node: Node, findings: Findings) -> str:
    """Return the text of `description`, which may have several lines; report anything else and return an empty text."""
    scalar = one_text(node, "description", findings)
    return scalar.text if scalar else ""


def known_keys(
    mapping: Mapping,
    known: Collection[str],
    place: str,
    findings: Findings,
    moves: ReadOnlyMapping[str, str] = NO_MOVES,
) -> None:
    """Report every key of `mapping` that isn't known in `place`; `moves` says where a misplaced one belongs."""
    for key, entry in mapping.entries.items():
        if key in known:
            continue
        if key in moves:
            findings.error("misplaced-key", entry.key_span, f"{quoted(key)} stands in the wrong place", moves[key])
        else:
            meant = _SYNONYMS.get(key.lower())
            hint = f"write `{meant}`" if meant in known else did_you_mean(key, known)
            findings.error("unknown-key", entry.key_span, f"{quoted(key)} is not a key of {place}", hint)


def kind_of(node: Node) -> str:
    """Return the kind of a node as words for a message."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "an empty value"
    if isinstance(node.value, bool):
        return "a boolean"
    return "a text" if isinstance(node.value, str) else "a number"


def _is_usable(scalar: Scalar, key: str, findings: Findings) -> bool:
    text, span = scalar.text, scalar.span
    if scalar.value is None or not text.strip():
        findings.error("empty-value", span, f"`{key}` is empty", "write a value, or remove the key")
    elif not isinstance(scalar.value, str):
        message = f"{quoted(text)} is {kind_of(scalar)} in YAML, and `{key}` takes text"
        findings.error("not-a-text", span, message, f'write it in quotes: `"{text}"`')
    elif has_expression(text):
        message = f"`{key}` holds an environment expression, and a policy says the same in every environment"
        findings.error("environment-in-policy", span, message, "write the value itself")
    elif control := _control_character(_as_read(text, key), allowed="\n\t" if key == "description" else ""):
        message = f"`{key}` holds the control character U+{ord(control):04X}"
        findings.error("control-character", span, message, "write one line of plain text")
    else:
        return True
    return False


def _as_read(text: str, key: str) -> str:
    """Return the text without the final newline that a block (`|`, `>`) adds."""
    return text.rstrip("\n") if key in tuple(Clause) else text


def _control_character(text: str, allowed: str) -> str | None:
    if text.isprintable():
        return None
    return next((char for char in text if unicodedata.category(char) == "Cc" and char not in allowed), None)
