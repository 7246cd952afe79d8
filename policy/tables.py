"""The tables of stored records: their standard names, and the names that the configuration gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Mapping as Environ
from dataclasses import dataclass, field
from typing import Final

from policy.resource_types import RECORD_TABLES, TYPES
from policy.source.diagnostics import Findings, quoted
from policy.source.document import Mapping as Block
from policy.source.document import Node, Scalar, Sequence
from policy.source.environment import substitute
from policy.vocabulary import RECORD_PREFIX, type_of_record

STORES: Final[Mapping[str, str]] = {row.store: row.table for row in TYPES.values() if row.store and row.table}
"""The stores under `storage.stores` that take a `table_name`, with the standard names of their tables."""

_PERSISTED: Final[Mapping[str, str]] = {
    row.persistence: row.table for row in TYPES.values() if row.persistence and row.table
}
"""The keys under a provider's `persistence` that take a `table_name`, with the standard names of their tables."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The names of the record tables; `configured` maps each name of the configuration to the standard name."""

    configured: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a table has."""
        return tuple(dict.fromkeys((*RECORD_TABLES, *self.configured)))

    def standard(self, name: str) -> str:
        """Return the standard name of the table called `name`; an unknown name stays as it is."""
        return self.configured.get(name, name)

    def canonical_type(self, kind: str) -> str:
        """Return the resource type `kind` under the table's standard name; types other than records stay as
        they are.
        """
        if not kind.startswith(RECORD_PREFIX):
            return kind
        return type_of_record(self.standard(kind.removeprefix(RECORD_PREFIX)))

    def types(self, kind: str) -> tuple[str, ...]:
        """Return every name of the canonical type `kind`, that one first."""
        further = (
            type_of_record(name) for name, standard in self.configured.items() if type_of_record(standard) == kind
        )
        return tuple(dict.fromkeys((kind, *further)))


def read_tables(document: Block, environ: Environ[str, str], findings: Findings) -> Tables:
    """Return the names of the tables in a whole configuration.

    Reports a name that two tables would have: a rule about one of them would match records of the other.
    """
    configured: dict[str, str] = {}
    taken = {name.casefold(): (name, f"`{name}`") for name in RECORD_TABLES}
    for standard, owner, scalar in _written(document):
        name = _text(scalar, environ)
        if name is None:
            continue
        holder, described = taken.setdefault(name.casefold(), (standard, owner))
        if holder != standard:
            message = f"the table {quoted(name)} of {owner} would have the name of {described}, and rules go by names"
            findings.error("shared-table", scalar.span, message, "give it another `table_name`")
        elif name != standard:
            configured[name] = standard
    return Tables(configured)


def _written(document: Block) -> Iterator[tuple[str, str, Scalar]]:
    """Yield each `table_name` of a record table, with the standard name and a description of its store."""
    for store, standard in STORES.items():
        name = _below(document, "storage", "stores", store, "table_name")
        if isinstance(name, Scalar):
            yield standard, f"`storage.stores.{store}`", name
    for provider in _providers(document):
        for kept, standard in _PERSISTED.items():
            name = _below(provider, "config", "persistence", kept, "table_name")
            if isinstance(name, Scalar):
                yield standard, f"`persistence.{kept}`", name


def _providers(document: Block) -> Iterator[Node]:
    apis = _below(document, "providers")
    for entry in apis.entries.values() if isinstance(apis, Block) else ():
        if isinstance(entry.node, Sequence):
            yield from entry.node.items


def _below(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, Block) else None
        node = entry.node if entry else None
    return node


def _text(scalar: Scalar, environ: Environ[str, str]) -> str | None:
    """Return the name after environment substitution; None where the configuration refuses that section."""
    try:
        name = substitute(scalar.text, environ)
    except ValueError:
        return None
    return name if isinstance(name, str) else None
