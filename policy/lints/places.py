"""Places in the file of the parts of a policy's rules."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass

from policy.quota_limits import NAME as LIMITS
from policy.rules import AccessRule, RouteRule
from policy.source.diagnostics import Span
from policy.source.document import Mapping, Node, Scalar, Sequence


@dataclass(frozen=True, slots=True)
class Places:
    """The nodes of one policy without errors; `span` is the place of its key, `name` the key."""

    name: str
    span: Span
    items: tuple[Node, ...]

    @classmethod
    def of(cls, auth: Mapping, name: str) -> Places | None:
        """Return the places of the policy called `name`; None where `auth` has none."""
        entry = auth.entries.get(name)
        if entry is None or not isinstance(entry.node, Sequence):
            return None
        return cls(name, entry.key_span, entry.node.items)

    @classmethod
    def of_limits(cls, document: Mapping) -> Places | None:
        """Return the places of `server.quota.limits`; None where the configuration has none."""
        node: Node | None = document
        for key in LIMITS.split("."):
            entry = node.entries.get(key) if isinstance(node, Mapping) else None
            node = entry.node if entry else None
        return cls(LIMITS, entry.key_span, node.items) if entry and isinstance(node, Sequence) else None

    def short(self, rule: AccessRule | RouteRule) -> str:
        """Return `access_policy[3]`, for a message."""
        return f"`{self.name}[{rule.index}]`"

    def named(self, rule: AccessRule | RouteRule) -> str:
        """Return `access_policy[3]` (line 41), for a message."""
        return f"{self.short(rule)} (line {rule.span.line})"

    def scope(self, rule: AccessRule | RouteRule, key: str) -> tuple[Scalar, ...]:
        """Return the texts of a key below `permit` or `forbid`, in their order."""
        return _texts(_below(self.items[rule.index], rule.effect, key))

    def conditions(self, rule: AccessRule | RouteRule) -> tuple[Scalar, ...]:
        """Return the texts of `when` or `unless`, one for each condition, in their order."""
        return _texts(_below(self.items[rule.index], rule.conditions.clause)) if rule.conditions else ()


def listed(names: abc.Sequence[str], most: int = 3) -> str:
    """Return `a`, `a and b`, `a, b and c`; beyond `most` texts, the first ones and the number of the others."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _below(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, Mapping) else None
        node = entry.node if entry else None
    return node


def _texts(node: Node | None) -> tuple[Scalar, ...]:
    items = node.items if isinstance(node, Sequence) else (node,)
    return tuple(item for item in items if isinstance(item, Scalar))
