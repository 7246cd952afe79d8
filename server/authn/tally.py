"""Counts of mapped claims in valid tokens, by issuer, so that a mapping without effect is noticed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

_log: Final = logging.getLogger(__name__)

_USUAL: Final = (
    ("roles",),
    ("groups",),
    ("realm_access", "roles"),
    ("cognito:groups",),
    ("permissions",),
    ("scp",),
    ("scope",),
    ("kubernetes.io", "namespace"),
)
"""The usual places of such claims; a hint names those that a token has."""


class ClaimTotals(Protocol):
    """Counts mapped claims; the labels are names from the configuration only."""

    def expect(self, issuer: str, claims: Collection[str]) -> None:
        """Begin to count these claims of an issuer's tokens, at zero."""
        ...

    def count(self, issuer: str, claim: str, found: bool) -> None:
        """Count a valid token that has, or lacks, that claim."""
        ...

    def count_bare(self, issuer: str) -> None:
        """Count a valid token whose only mapped claim is that of its caller's name."""
        ...


class Tally:
    """The counts of one issuer. `named_by` is the claim that names the caller, which every token has."""

    def __init__(
        self, issuer: str, claims: Collection[str], named_by: str, is_default: bool, counters: ClaimTotals
    ) -> None:
        self._issuer = issuer
        self._claims = tuple(claim for claim in claims if claim != named_by)
        self._is_default = is_default
        self._counters = counters
        self._missing = set(self._claims)
        self._tokens = 0
        self._warned = False
        counters.expect(issuer, self._claims)

    def count(self, found: Collection[str], token: Mapping[str, Any]) -> None:
        """Count a valid token whose mapped claims `found` have values.

        The first one with none at all is a warning, unless a token of this issuer had some before.
        """
        self._tokens += 1
        for claim in self._claims:
            self._counters.count(self._issuer, claim, claim in found)
        had_none = len(self._missing) == len(self._claims)
        self._missing.difference_update(found)
        if self._claims and not any(claim in found for claim in self._claims):
            self._counters.count_bare(self._issuer)
            if had_none and not self._warned:
                self._warned = True
                self._warn(token)

    def never_found(self) -> dict[str, Any] | None:
        """Return the claims that no token had, with their issuer and the number of tokens; None where there are none.

        The claims of the default mapping, which is for any issuer, count only where no token had any of them.
        """
        is_partial = self._is_default and len(self._missing) < len(self._claims)
        if not self._tokens or not self._missing or is_partial:
            return None
        claims = [claim for claim in self._claims if claim in self._missing]
        return {"issuer": self._issuer, "claims": claims, "tokens": self._tokens}

    def _warn(self, token: Mapping[str, Any]) -> None:
        names = ", ".join(f"`{claim}`" for claim in self._claims)
        usual = [".".join(path) for path in _USUAL if _has(token, path)]
        there = ", ".join(f"`{name}`" for name in usual if name not in self._claims)
        _log.warning(
            "a good token of the issuer `%s` has none of the mapped claims %s, so its caller has no attributes by them"
            "%s; correct `claims_mapping` if callers should have some",
            self._issuer,
            names,
            f" (it has {there}, which is not mapped)" if there else "",
        )


class Tallies:
    """The counts of all issuers."""

    def __init__(self, counters: ClaimTotals) -> None:
        self._counters = counters
        self._tallies: dict[str, Tally] = {}

    def of(self, issuer: str, claims: Collection[str], named_by: str, *, is_default: bool) -> Tally:
        """Return the counts of an issuer, shared by all ways in which its tokens are checked."""
        if issuer not in self._tallies:
            self._tallies[issuer] = Tally(issuer, claims, named_by, is_default, self._counters)
        return self._tallies[issuer]

    def never_found(self) -> list[dict[str, Any]]:
        """Return `issuer`, `claims` and the number of `tokens` for each issuer with mapped claims that no token had."""
        return [found for tally in self._tallies.values() if (found := tally.never_found())]


def _has(token: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    place: Any = token
    for name in path:
        place = place.get(name) if isinstance(place, Mapping) else None
    return bool(place)
