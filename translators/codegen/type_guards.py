"""Static tests in front of a regular expression, so that OPA's rule index can leave the rule out."""

from __future__ import annotations

from policy.resource_types import TYPE_SYNONYMS
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX
from translators.codegen.text import equals_any, string_literal


def type_guard(prefix: str, reference: str, tables: Tables) -> tuple[str, ...]:
    """Return the test on the type at `reference` that follows from the literal text with which every match starts.

    Exact, because a subject is `type::name`: a prefix with the separator fixes the type. Otherwise empty.
    """
    if prefix.startswith(RECORD_PREFIX):
        table, separator, _ = prefix.removeprefix(RECORD_PREFIX).partition("::")
        if separator:
            return (equals_any(reference, [tables.canonical_type(RECORD_PREFIX + table)]),)
        return (f"startswith({reference}, {string_literal(RECORD_PREFIX)})",)
    kind, separator, _ = prefix.partition("::")
    if separator:
        return (equals_any(reference, [TYPE_SYNONYMS.get(kind, kind)]),)
    return ()
