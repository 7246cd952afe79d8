"""The names that no registered model may have."""

from __future__ import annotations

from collections.abc import Collection, Sequence


class ReservedNames:
    """The configuration's names, and all that begin with the id of a provider that is not the model's, and a slash.

    Rules name models so, and a caller who registers models could else put one among those of another provider.
    """

    def __init__(self, names: Collection[str], providers: Collection[str]) -> None:
        self._names = frozenset(names)
        self._providers = frozenset(providers)

    def are_taken(self, names: Sequence[str]) -> bool:
        """Return whether a model may not have these names, the canonical one first."""
        own = names[0].partition("/")[0]
        return any(name in self._names or self._is_of_another(name, own) for name in names)

    def _is_of_another(self, name: str, own: str) -> bool:
        prefix, slash, _ = name.partition("/")
        return bool(slash) and prefix != own and prefix in self._providers
