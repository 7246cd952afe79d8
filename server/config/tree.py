"""The tree of a configuration file after substitution: variables resolved, disabled parts left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Environ
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from policy.source.diagnostics import Findings, Span, quoted
from policy.source.document import Entry, Mapping, Node, Scalar, Sequence
from policy.source.environment import (
    DISABLED,
    Missing,
    about_empty_conditional,
    empty_conditionals,
    has_expression,
    looks_like_expression,
    substitute,
)
from server.config.api_names import SECTIONS, is_missing
from server.config.raw_value import UNRESOLVED, RawValue, Section, Unresolved

Path: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = "dict[str, Tree] | tuple[Tree, ...] | RawValue | Unresolved | Node | None"

PROVIDER_CONFIG: Final[Path] = ("server", "auth", "provider_config")
_POLICIES: Final = frozenset({("server", "auth", "access_policy"), ("server", "auth", "route_policy")})
_STORE_IDS: Final = ("vector_store_id", "vector_db_id", "provider_id")
_SWITCHED_BY: Final = {
    "models": ("model_id", "provider_id"),
    "shields": ("shield_id", "provider_id"),
    "tool_groups": ("toolgroup_id", "provider_id"),
    "vector_stores": _STORE_IDS,
    "vector_dbs": _STORE_IDS,
}
"""The lists at the top whose entries a variable switches off, with the fields that are empty then."""

_NAMES: Final = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)")
_CONDITIONAL_ID: Final = re.compile(r"\$\{env\.(?P<name>[A-Za-z_][A-Za-z0-9_]*):\+(?P<id>[^}]+)\}")
_CONDITIONAL: Final = re.compile(r"\$\{env\.[A-Za-z_][A-Za-z0-9_]*:\+[^}]*\}")


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """The place of a value: its node, and its key if it has one."""

    node: Node
    key_span: Span | None = None


@dataclass(slots=True)
class TreeReader:
    """A file after substitution: `tree` is validated by the models, `places` says where each of its values stands.

    `switched_off` holds the ids of providers that are left out, each with the variable that isn't set, and `unused`
    those of shields that are.
    """

    tree: dict[str, Tree] = field(default_factory=dict)
    places: dict[Path, FieldPlace] = field(default_factory=dict)
    switched_off: dict[str, str] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)

    def at(self, path: Path) -> Tree:
        """Return the value at `path`, which exists."""
        value: Tree = self.tree
        for step in path:
            value = value[step]  # type: ignore[index]  # `path` says which of them it is
        return value

    def find(self, path: Path) -> Tree:
        """Return the value at `path`, or None."""
        value: Tree = self.tree
        for step in path:
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[str(step)]
        return value

    def mapping(self, path: Path) -> dict[str, Tree]:
        """Return the mapping at `path`; empty where there is none."""
        found = self.find(path)
        return found if isinstance(found, dict) else {}

    def entries(self, path: Path) -> Iterator[tuple[Path, dict[str, Tree]]]:
        """Yield those entries of the list at `path` that are mappings, each with its own path."""
        found = self.find(path)
        for index, entry in enumerate(found if isinstance(found, tuple) else ()):
            if isinstance(entry, dict):
                yield (*path, index), entry

    def span(self, path: Path) -> Span:
        """Return the place of the value at `path`, or of its key where the value is a block of lines."""
        place = self.places[path]
        return place.node.span if isinstance(place.node, Scalar) or place.key_span is None else place.key_span


def read(document: Mapping, environ: Environ[str, str], findings: Findings) -> TreeReader:
    """Substitute every variable once; all missing ones are reported together, at the first place that needs one.

    A conditional value whose variable is unset is left out with its key; so are, unread, an authentication provider
    whose `type` is empty, a provider, a model or a vector store whose id is, one that says `__disabled__`, and what
    needs an API that isn't served.
    """
    reader = _Reader(environ, findings)
    reader.reading.places[()] = FieldPlace(document)
    reader.reading.tree = reader.mapping(document, ())
    reader.report_missing()
    return reader.reading


def _needs_missing(section: str | int) -> bool:
    """Return whether the entries of this list at the top need an API that isn't served."""
    return isinstance(section, str) and section in SECTIONS and is_missing(SECTIONS[section])


class _Absent:
    """Takes the place of a value that is left out with its key."""


_ABSENT: Final = _Absent()


class _Reader:
    def __init__(self, environ: Environ[str, str], findings: Findings) -> None:
        self.reading = TreeReader()
        self._environ = environ
        self._findings = findings
        self._missing: dict[str, Span] = {}

    def mapping(self, node: Mapping, path: Path) -> dict[str, Tree]:
        read = Section()
        for key, entry in node.entries.items():
            inner = (*path, key)
            self.reading.places[inner] = FieldPlace(entry.node, entry.key_span)
            value = self._policy_or_value(entry, inner)
            if not isinstance(value, _Absent):
                read[key] = value
            if value is None and isinstance(entry.node, Scalar) and has_expression(entry.node.text):
                read.emptied.add(key)
        return read

    def report_missing(self) -> None:
        if not self._missing:
            return
        names = [f"`{name}`" for name in self._missing]
        first = next(iter(self._missing.values()))
        others = [f"`{name}` in line {span.line}" for name, span in self._missing.items()][1:]
        listed = " and ".join([", ".join([names[0], *others[:-1]]), *others[-1:]])
        message = f"the environment lacks {listed}"
        hint = f"set {'it' if len(names) == 1 else 'them'}, or write a default: `${{env.NAME:=default}}`"
        self._findings.error("missing-variable", first, message, hint)

    def _policy_or_value(self, entry: Entry, path: Path) -> Tree | _Absent:
        if path in _POLICIES:
            return entry.node
        if path == PROVIDER_CONFIG and self._is_switched_off(entry):
            return _ABSENT
        if path[:-1] == ("providers",) and is_missing(str(path[-1])):
            return _ABSENT if isinstance(entry.node, Sequence) and not entry.node.items else entry.node
        return self._value(entry.node, path)

    def _value(self, node: Node, path: Path) -> Tree | _Absent:
        if isinstance(node, Mapping):
            return self.mapping(node, path)
        if isinstance(node, Sequence):
            return self._sequence(node, path)
        if looks_like_expression(node.text):
            message = "`${…}` without `env.` is ordinary text, so no variable takes its place"
            self._findings.warning("ordinary-expression", node.span, message, "a variable is written `${env.NAME}`")
        if has_expression(node.text):
            return self._substituted(node)
        return None if node.value is None else RawValue(node.text, node.value)

    def _sequence(self, node: Sequence, path: Path) -> tuple[Tree, ...]:
        read: list[Tree] = []
        for item in node.items:
            if self._is_left_out(item, path):
                self._note_unused(item, path)
                continue
            inner = (*path, len(read))
            self.reading.places[inner] = FieldPlace(item)
            value = item if len(path) == 1 and _needs_missing(path[0]) else self._value(item, inner)
            if not isinstance(value, _Absent):
                read.append(value)
        return tuple(read)

    def _substituted(self, node: Scalar) -> Tree | _Absent:
        try:
            value = substitute(node.text, self._environ)
        except ValueError as error:
            self._findings.error("invalid-expression", node.span, str(error))
            return UNRESOLVED
        if isinstance(value, Missing):
            for name in value.names:
                self._missing.setdefault(name, node.span)
            return UNRESOLVED
        if value == DISABLED:
            message = f"`{DISABLED}` switches off a provider, a model, a shield or a vector store, and this is none"
            self._findings.error("misplaced-disabled", node.span, message)
            return UNRESOLVED
        empty = [name for name in empty_conditionals(node.text) if self._environ.get(name)]
        for name in empty:
            self._findings.warning("empty-conditional", node.span, *about_empty_conditional(name))
        if value is None:
            return _ABSENT if _CONDITIONAL.fullmatch(node.text) else None
        return RawValue(value, value, tuple(dict.fromkeys(_NAMES.findall(node.text))))

    def _is_left_out(self, item: Node, path: Path) -> bool:
        """Return whether a variable switches off this entry of the list at `path`."""
        if len(path) == 2 and path[0] == "providers":
            return self._is_off(item, ("provider_id",), names_a_provider=True)
        ids = _SWITCHED_BY.get(str(path[0])) if len(path) == 1 else None
        return ids is not None and (self._is_disabled(item) or self._is_off(item, ids))

    def _note_unused(self, item: Node, path: Path) -> None:
        """Note the id of a shield that a variable switches off, since other parts may name it all the same."""
        named = item.entries.get("shield_id") if path == ("shields",) and isinstance(item, Mapping) else None
        if named is not None and isinstance(named.node, Scalar) and not has_expression(named.node.text):
            self.reading.unused.add(named.node.text)

    def _is_off(self, item: Node, ids: tuple[str, ...], *, names_a_provider: bool = False) -> bool:
        """Return whether one of the ids of an entry is `__disabled__`, or left out while its variable is not set."""
        fields = item.entries if isinstance(item, Mapping) else {}
        for key in ids:
            node = fields[key].node if key in fields else None
            if not isinstance(node, Scalar) or not has_expression(node.text):
                continue
            named, outcome = _CONDITIONAL_ID.fullmatch(node.text), self._outcome(node)
            if names_a_provider and named and outcome is None:
                self.reading.switched_off.setdefault(named["id"], named["name"])
            if outcome == DISABLED or (outcome is None and _CONDITIONAL.fullmatch(node.text)):
                return True
        return False

    def _is_disabled(self, node: Node) -> bool:
        if isinstance(node, Scalar):
            return self._outcome(node) == DISABLED
        inner = node.items if isinstance(node, Sequence) else [entry.node for entry in node.entries.values()]
        return any(map(self._is_disabled, inner))

    def _is_switched_off(self, entry: Entry) -> bool:
        node = entry.node
        kind = node.entries["type"].node if isinstance(node, Mapping) and "type" in node.entries else node
        if not isinstance(kind, Scalar) or not has_expression(kind.text) or self._outcome(kind) is not None:
            return False
        message = f"authentication is off: {quoted(kind.text)} is nothing in this environment"
        self._findings.warning("authentication-off", kind.span, message)
        return True

    def _outcome(self, node: Scalar) -> str | Missing | None:
        """Return the substituted value of a scalar; its text unchanged after an error."""
        try:
            return substitute(node.text, self._environ)
        except ValueError:
            return node.text
