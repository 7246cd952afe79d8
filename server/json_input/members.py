"""Rules for members that an object must have in an answer, and for members that it has only with a value.

This module runs in the server and in its worker processes, so it imports the standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Members:
    """The rules for the members of one kind of object.

    A member of `given` that is absent or null gets the value beside it. A member of `never_null` is removed if it is
    null. `inside` holds the rules for objects that are members, `each` for all objects in lists that are members, and
    `parts` for those in such lists by their `type`.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    never_null: frozenset[str] = frozenset()
    inside: Mapping[str, Members] = field(default_factory=dict)
    each: Mapping[str, Members] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Members]] = field(default_factory=dict)

    def fit(self, shown: Json) -> None:
        """Apply the rules to `shown`; a value of an unexpected type stays unchanged."""
        for name in self.never_null:
            if name in shown and shown[name] is None:
                del shown[name]
        for name, value in self.given.items():
            if shown.get(name) is None:
                # A list of the table must not become a part of anything that changes.
                shown[name] = copy(value)
        for value, members in self._inner(shown):
            if type(value) is dict:
                members.fit(value)

    def _inner(self, shown: Json) -> Iterator[tuple[Any, Members]]:
        for name, members in self.inside.items():
            yield shown.get(name), members
        for name, members in self.each.items():
            for inner in _listed(shown.get(name)):
                yield inner, members
        for name, kinds in self.parts.items():
            for part in _listed(shown.get(name)):
                kind = part.get("type") if type(part) is dict else None
                if type(kind) is str and kind in kinds:
                    yield part, kinds[kind]


def _listed(value: Any) -> list[Any]:
    return value if type(value) is list else []
