"""Rules for lists: the conditions under which a rule applies to a stored record that isn't known yet."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

from policy.resource_types import LISTED_TYPES, RECORD_TABLES, TYPE_SYNONYMS
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, type_of_record
from translators.codegen.conditions import Body, Listing

_SUBJECTS: Final = (
    RECORD_PREFIX,
    *(f"{kind}::" for kind in LISTED_TYPES),
    *(f"{spelling}::" for spelling, kind in TYPE_SYNONYMS.items() if kind in LISTED_TYPES),
)


def may_be_listed(beginning: str) -> bool:
    """Return whether a subject with this beginning, or of this type, can be that of a stored record."""
    return any(f"{beginning}::".startswith(subject) or subject.startswith(beginning) for subject in _SUBJECTS)


def listed_types(tables: Tables) -> dict[str, tuple[str, ...]]:
    """Return every type of stored record, with the beginnings that the subjects of its records may have."""
    canonical = (*LISTED_TYPES, *map(type_of_record, RECORD_TABLES))
    spellings = {
        kind: (*tables.types(kind), *(other for other, known in TYPE_SYNONYMS.items() if known == kind))
        for kind in canonical
    }
    return {kind: tuple(f"{spelling}::" for spelling in found) for kind, found in spellings.items()}


def listings(bodies: Iterable[Body]) -> tuple[Listing, ...]:
    """Return one listing for each way in which one of `bodies` can hold for a stored record."""
    ways = [way for body in bodies for way in product(*[test.listings for test in body])]
    return tuple(dict.fromkeys(map(_joined, ways)))


def _joined(parts: tuple[Listing, ...]) -> Listing:
    lines = tuple(line for part in parts for line in part.lines)
    facts = tuple(fact for part in parts for fact in part.facts)
    return Listing(tuple(dict.fromkeys(lines)), tuple(dict.fromkeys(facts)))
