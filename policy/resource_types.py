"""The types of resources: one row for each, from which every other module takes what it needs to know of a type.

A further type is one further row. Its facts in Rego, in the configuration's model and in the documentation are held
equal to the row by tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from policy.vocabulary import RECORD_PREFIX, Action, type_of_record

Ask: TypeAlias = tuple[Action, str]
"""A question to the policy about a resource: the action and the canonical name of the type."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type of resource.

    `name` is the canonical name: `model`, or `sql_record::openai_files` for the records of a table. `synonyms` are
    further spellings in rules.

    `sections` are the keys of the configuration whose entries define resources of the type, and `id_fields` the fields
    of such an entry that name it. `api` is the entry of `apis` that lets callers make some by other routes than a
    registry's.

    A `stored` type has records that rules are asked about as a list. `store` is the key under `storage.stores`, and
    `persistence` the key under a provider's `persistence`, whose `table_name` renames a record table; a table with
    neither keeps its name. `registry` is the path at which callers register resources of the type.

    `served` is false for a type that rules may name and no route of this version is about.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    id_fields: tuple[str, ...] = ()
    api: str | None = None
    stored: bool = False
    store: str | None = None
    persistence: str | None = None
    registry: str | None = None
    served: bool = True

    @property
    def table(self) -> str | None:
        """The standard name of the record table; None for a type that is no table of records."""
        return self.name.removeprefix(RECORD_PREFIX) if self.name.startswith(RECORD_PREFIX) else None


_ROWS: Final = (
    ResourceType(
        "model",
        sections=("models",),
        id_fields=("provider_id", "model_id", "provider_model_id"),
        stored=True,
        registry="/v1/models",
    ),
    ResourceType(
        "shield",
        sections=("shields",),
        id_fields=("shield_id", "provider_shield_id"),
        stored=True,
        registry="/v1/shields",
    ),
    ResourceType(
        "vector_store",
        synonyms=("vector_db",),
        sections=("vector_dbs", "vector_stores"),
        id_fields=("vector_store_id", "vector_db_id"),
        api="vector_io",
        stored=True,
        registry="/v1/vector-dbs",
    ),
    ResourceType("dataset", sections=("datasets",), id_fields=("dataset_id",), stored=True, registry="/v1/datasets"),
    ResourceType(
        "scoring_function",
        sections=("scoring_fns",),
        id_fields=("scoring_fn_id",),
        stored=True,
        registry="/v1/scoring-functions",
    ),
    ResourceType(
        "benchmark",
        sections=("benchmarks",),
        id_fields=("benchmark_id",),
        stored=True,
        registry="/v1/eval/benchmarks",
    ),
    ResourceType("tool"),
    ResourceType(
        "tool_group", sections=("tool_groups",), id_fields=("toolgroup_id",), stored=True, registry="/v1/toolgroups"
    ),
    ResourceType("session", served=False),
    ResourceType("prompt", stored=True),
    ResourceType("batch", stored=True),
    ResourceType("provider", id_fields=("provider_id",)),
    ResourceType("usage", stored=True),
    ResourceType(type_of_record("openai_conversations"), api="agents", stored=True, store="conversations"),
    ResourceType(type_of_record("conversation_items"), api="agents", stored=True),
    ResourceType(type_of_record("responses"), api="agents", stored=True, persistence="responses"),
    ResourceType(type_of_record("openai_files"), stored=True, store="files"),
    ResourceType(type_of_record("chat_completions"), stored=True, store="inference"),
)

TYPES: Final[Mapping[str, ResourceType]] = {row.name: row for row in _ROWS}
"""Every type, by its canonical name, in the order of the documentation."""

RESOURCE_TYPES: Final = tuple(row.name for row in _ROWS if row.table is None)
"""Canonical names of the types, without the record tables."""

TYPE_SYNONYMS: Final[Mapping[str, str]] = {synonym: row.name for row in _ROWS for synonym in row.synonyms}
"""Second spellings of a type; both match in every kind of pattern."""

RECORD_TABLES: Final = tuple(row.table for row in _ROWS if row.table is not None)
"""Standard names of the record tables."""

LISTED_TYPES: Final = tuple(sorted(row.name for row in _ROWS if row.stored and row.table is None))
"""The types that are stored beside the record tables; the policy answers about lists of these and of tables alone."""

REGISTERED_TYPES: Final = tuple(row.name for row in _ROWS if row.registry is not None)
"""The types of which callers register resources."""
