"""The resources that the policy is asked about for the records of one store."""

from __future__ import annotations

from dataclasses import dataclass

from policy.vocabulary import Resource
from server.storage.records.names import RecordNames
from server.storage.records.record import Record
from server.storage.records.table import StoredRecord


@dataclass(frozen=True, slots=True)
class RecordKind:
    """Records of the resource type `type`; `types` holds every name of a type that has several.

    In questions they go by their ids unless `names` says more.
    """

    type: str
    names: RecordNames | None = None
    types: tuple[str, ...] = ()

    def new(self, *names: str) -> Resource:
        """Return the resource of a record that is to be made with these names."""
        return Resource(self.type, names, types=self.types)

    def resource(self, record: Record | StoredRecord) -> Resource:
        """Return the resource that a record is."""
        return Resource(self.type, self.names_of(record), record.owner, record.origin, self.types)

    def missing(self, identity: str) -> Resource:
        """Return the resource of an id under which there is no record."""
        return Resource(self.type, (identity,), types=self.types)

    def names_of(self, record: Record | StoredRecord) -> tuple[str, ...]:
        """Return the names that a record goes by; none where it is no record of this kind any more."""
        return (record.id,) if self.names is None else self.names.of(record.facet)
