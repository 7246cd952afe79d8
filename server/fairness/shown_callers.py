"""Callers as they have shown themselves lately: with the attributes in the newest token of each."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from policy.vocabulary import Principal

MOST_REMEMBERED: Final = 10_000
"""Callers whose newest attributes one process remembers; those that came longest ago are forgotten first."""

MOST_VALUES: Final = 200_000
"""Values of attributes that are remembered of all callers together, some 20 MB; a caller counts for one more."""

_Key = tuple[str, str]


class ShownCallers:
    """Remembers each caller as its last request showed it, and when; belongs to one event loop."""

    def __init__(self) -> None:
        self._seen: OrderedDict[_Key, tuple[Principal, float]] = OrderedDict()
        self._new: dict[_Key, None] = {}
        self._values = 0

    def note(self, principal: Principal) -> None:
        """Note that a caller has shown itself now."""
        key = (principal.id, principal.issuer)
        before = self._seen.get(key)
        # Most requests come with a token that is known, and so with the same object.
        if before is None or before[0] is not principal:
            self._values += _values_of(principal) - (0 if before is None else _values_of(before[0]))
        self._seen[key] = principal, time.time()
        self._seen.move_to_end(key)
        self._new[key] = None
        while len(self._seen) > MOST_REMEMBERED or self._values > MOST_VALUES:
            forgotten, (caller, _) = self._seen.popitem(last=False)
            self._values -= _values_of(caller)
            self._new.pop(forgotten, None)

    def newest(self, identity: str, issuer: str) -> tuple[Principal, float] | None:
        """Return how the caller was last, and when, in seconds since 1970; None where it is not remembered."""
        return self._seen.get((identity, issuer))

    def take_new(self) -> list[tuple[Principal, float]]:
        """Return those that have shown themselves since the last call, with the times."""
        new, self._new = self._new, {}
        return [self._seen[key] for key in new if key in self._seen]

    def keep_new(self, principal: Principal) -> None:
        """Have the next `take_new` return this caller again."""
        key = (principal.id, principal.issuer)
        if key in self._seen:
            self._new[key] = None


def _values_of(principal: Principal) -> int:
    return 1 + sum(map(len, principal.attributes.values()))
