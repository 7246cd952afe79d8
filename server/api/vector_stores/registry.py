"""`/v1/vector-dbs`: vector stores under names that their makers choose, in the shapes of Llama Stack's registry."""

from __future__ import annotations

from typing import Any, Final

from server.api.models.catalogue import DefinedByConfiguration
from server.api.registry.body import NewEntry
from server.api.registry.routes import KINDS, RegistryRoutes
from server.api.vector_stores.attaching import Attaching
from server.api.vector_stores.refusals import defined_by_configuration
from server.api.vector_stores.routes import STORE
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import NewStore, modern
from server.authz.request_authorization import Gate
from server.http.responses import encoded
from server.json_input.reader import Reader
from server.storage.records.record import Json, Record

KIND: Final = next(kind for kind in KINDS if kind.type == STORE)


class VectorDbs(RegistryRoutes):
    """Registers vector stores: they are those of `/v1/vector_stores`. The model that one names is looked up when the
    store is used, on behalf of its user. Those that name no provider have `provider_id`, and keep it.
    """

    def __init__(self, stores: VectorStores, attaching: Attaching, provider_id: str | None, reader: Reader) -> None:
        super().__init__(KIND, stores.records, reader)
        self._attaching = attaching
        self._provider_id = provider_id

    def _body(self, new: NewEntry) -> Json:
        described = new.described
        return NewStore(
            embedding_model=described["embedding_model"],
            name=described["vector_db_name"],
            dimensions=described["embedding_dimension"],
            provider_id=new.provider_id or self._provider_id,
            resource_id=new.provider_resource_id,
        ).body()

    async def _removed(self, gate: Gate, name: str) -> Record:
        try:
            return await self._attaching.delete_store(gate, name)
        except DefinedByConfiguration:
            raise defined_by_configuration(name) from None

    def _text(self, record: Record) -> bytes:
        return encoded(self._show(record))

    def _show(self, record: Record) -> dict[str, Any]:
        body = modern(record).body
        own = body["provider_resource_id"]
        return {
            "id": record.id,
            "object": KIND.shown,
            "created_at": record.created_at,
            "identifier": record.id,
            "type": KIND.shown,
            "provider_id": body["provider_id"],
            "provider_resource_id": record.id if own is None else own,
            "embedding_model": body["embedding_model"],
            "embedding_dimension": body["dimensions"],
            "vector_db_name": body["name"],
        }
