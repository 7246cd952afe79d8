"""The choice of what a new vector store is made with: its embedding model, dimensions, and index."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from policy.vocabulary import Action, Origin, Resource
from server.api.models.catalogue import Catalogue
from server.api.vector_stores.body import CreateStore
from server.api.vector_stores.store_record import NewStore
from server.authz.permit import AccessDenied
from server.authz.request_authorization import Gate
from server.http.errors import invalid
from server.http.pagination import missing_reference
from server.storage.records.guarded import NotFound


@dataclass(frozen=True, slots=True)
class StoreDefaults:
    """Defaults of a store for what its maker leaves out: the name of an embedding model, None where the server
    can't tell one, and the provider of its index, None where there is none. A store keeps its provider, whatever the
    configuration says later.
    """

    embedding_model: str | None = None
    dimensions: int | None = None
    provider_id: str | None = None


class StoreMaking:
    """Chooses what the stores of callers are made with; `providers` are those of indexes."""

    def __init__(self, catalogue: Catalogue, defaults: StoreDefaults, providers: Container[str]) -> None:
        self._catalogue = catalogue
        self._defaults = defaults
        self._providers = providers

    async def store(self, gate: Gate, new: CreateStore) -> NewStore:
        """Return the store that a body asks for.

        Raises the 404 for a model that is missing or that the caller may not read, and the 400 for one that makes no
        embeddings or others, and for an unknown provider. A default is the server's own choice, and is not asked about.
        """
        model, dimensions = await self._model(gate, new)
        return NewStore(
            embedding_model=model,
            name=new.name,
            description=new.description,
            metadata=new.metadata,
            dimensions=dimensions,
            provider_id=await self._provider(gate, new.provider_id),
            expires_after=new.expires_after,
        )

    async def _model(self, gate: Gate, new: CreateStore) -> tuple[str, int | None]:
        if new.embedding_model is None:
            if self._defaults.embedding_model is None:
                sentence = (
                    "this server has no default embedding model; name one in `embedding_model`, or have `vector_io` "
                    "listed in the `apis` of the configuration, which brings one along"
                )
                raise invalid(sentence, "embedding_model", "missing_required_parameter")
            name, dimensions = self._defaults.embedding_model, self._defaults.dimensions
        else:
            try:
                model = await self._catalogue.get(gate, new.embedding_model)
            except NotFound:
                raise missing_reference("embedding_model", new.embedding_model) from None
            if model.kind != "embedding":
                sentence = f"the model `{new.embedding_model}` makes no embeddings"
                raise invalid(sentence, "embedding_model", "invalid_value")
            name, dimensions = model.name, model.dimensions
        asked = new.embedding_dimension
        if asked is not None and dimensions is not None and asked != dimensions:
            sentence = f"the embeddings of this model have {dimensions} dimensions, not {asked}"
            raise invalid(sentence, "embedding_dimension", "invalid_value")
        return name, dimensions or asked

    async def _provider(self, gate: Gate, provider_id: str | None) -> str | None:
        """Return the provider; raise the same 400 for an unknown one and for one that the caller may not read."""
        if provider_id is None:
            return self._defaults.provider_id
        try:
            await gate.permit(Action.READ, Resource("provider", (provider_id,), None, Origin.CONFIG))
            is_known = provider_id in self._providers
        except AccessDenied:
            is_known = False
        if not is_known:
            sentence = f"there is no provider `{provider_id}` of vector stores, or you have no access to it"
            raise invalid(sentence, "provider_id", "invalid_value")
        return provider_id
