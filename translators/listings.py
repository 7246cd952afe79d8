"""Rules for lists: when a rule applies to a stored record that isn't known yet."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from translators.conditions import Body, Listing


def listings(bodies: Iterable[Body]) -> tuple[Listing, ...]:
    """One for each way in which one of `bodies` can hold for a stored record."""
    ways = [way for body in bodies for way in product(*[test.listings for test in body])]
    return tuple(dict.fromkeys(map(_joined, ways)))


def _joined(parts: tuple[Listing, ...]) -> Listing:
    lines = tuple(line for part in parts for line in part.lines)
    facts = tuple(fact for part in parts for fact in part.facts)
    return Listing(tuple(dict.fromkeys(lines)), tuple(dict.fromkeys(facts)))
