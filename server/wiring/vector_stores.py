"""Building of the routes of vector stores."""

from __future__ import annotations

from server.api.models.catalogue import Catalogue
from server.api.vector_stores.attaching import Attaching
from server.api.vector_stores.batches import FileBatches
from server.api.vector_stores.direct import VectorIo
from server.api.vector_stores.documents import Documents
from server.api.vector_stores.files import VectorStoreFiles
from server.api.vector_stores.making import StoreDefaults, StoreMaking
from server.api.vector_stores.pages import LinkPages
from server.api.vector_stores.reading import VectorStoreTexts
from server.api.vector_stores.registry import VectorDbs
from server.api.vector_stores.routes import VectorStoreRoutes
from server.api.vector_stores.shown import Shown
from server.app import RouteGroup
from server.background.lasting import LastingWork
from server.config import Config
from server.config.vector_stores import VectorStoreSettings
from server.json_input.reader import Reader
from server.wiring.ingestion import VectorWork
from server.wiring.stores import Stores
from server.wiring.vectors import VectorIndexes


def vector_store_routes(
    config: Config,
    stores: Stores,
    catalogue: Catalogue,
    indexes: VectorIndexes,
    work: VectorWork,
    reader: Reader,
    lasting: LastingWork,
) -> list[RouteGroup]:
    """Return the routes of vector stores, of what is in them, and of their registry."""
    vectors, queue = stores.vector_stores, stores.ingestion
    attaching = Attaching(vectors, stores.files, queue, served=bool(indexes.ids))
    pages = LinkPages(vectors, stores.files)
    defaults = _defaults(catalogue, config.vector_defaults, indexes.default)
    making = StoreMaking(catalogue, defaults, indexes.ids)
    documents = Documents(vectors, queue, work.embedder, work.index_of, lasting)
    return [
        VectorStoreRoutes(vectors, making, attaching, Shown(vectors, queue), reader),
        VectorStoreTexts(vectors, work.search, pages, work.index_of, reader),
        VectorStoreFiles(vectors, attaching, pages, reader),
        FileBatches(vectors, attaching, pages, reader),
        VectorDbs(vectors, attaching, defaults.provider_id, reader),
        VectorIo(vectors, catalogue, documents, work.search, reader),
    ]


def _defaults(catalogue: Catalogue, settings: VectorStoreSettings, index: str | None) -> StoreDefaults:
    """Return what stores are made with: the model that the settings name, or the only one that makes embeddings."""
    embedding = [model for model in catalogue.configured if model.kind == "embedding"]
    wanted = settings.default_embedding_model
    if wanted is not None:
        name = f"{wanted.provider_id}/{wanted.model_id}"
        embedding = [model for model in embedding if name in model.names]
    if len(embedding) != 1:
        return StoreDefaults(provider_id=index)
    return StoreDefaults(embedding[0].name, embedding[0].dimensions, index)
