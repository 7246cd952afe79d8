"""The models of vector stores: those of the configuration, what new ones are made with, and the embedding model that
the server brings along where the configuration has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Discriminator, Field, Tag

from server.config.base import StrictModel
from server.config.local_models import WORD_LLAMA, WordLlamaProvider
from server.config.models import ModelConfig
from server.config.types import Text, refusal, text, whole_number

if TYPE_CHECKING:
    from server.config.root import Config

MOST_DIMENSIONS: Final = 16_384
LONGEST_ID: Final = 256
"""Bytes of the id of a store in UTF-8."""

OWN_PROVIDER: Final = "wordllama"
OWN_MODEL: Final = "wordllama-256"
OWN_DIMENSIONS: Final = 256

_NO_SEGMENT: Final = re.compile(r"[/\\%?#]|\A\.{1,2}\Z")


def _store_id(value: object) -> object:
    given = str(text(value))
    if len(given.encode()) > LONGEST_ID or not given.isprintable() or _NO_SEGMENT.search(given):
        sentence = f"takes an id of at most {LONGEST_ID} bytes without `/`, `\\`, `%`, `?` and `#`, since paths hold it"
        raise refusal("wrong-value", sentence)
    return given


class VectorStoreConfig(StrictModel):
    """A vector store that is there from the start on, has no owner, and comes from the configuration.

    Rules go by `vector_store_id`. `embedding_model` is any name of a model of the configuration.
    """

    vector_store_id: Annotated[str, BeforeValidator(_store_id)] = Field(
        validation_alias=AliasChoices("vector_store_id", "vector_db_id")
    )
    embedding_model: Text
    embedding_dimension: Annotated[int, whole_number(1, MOST_DIMENSIONS)] | None = None
    provider_id: Text | None = None
    provider_vector_store_id: Text | None = Field(
        default=None, validation_alias=AliasChoices("provider_vector_store_id", "provider_vector_db_id")
    )
    vector_store_name: Text | None = Field(
        default=None, validation_alias=AliasChoices("vector_store_name", "vector_db_name")
    )


class QualifiedModel(StrictModel):
    """A model of a provider, both by their ids."""

    provider_id: Text
    model_id: Text


class VectorStoreSettings(StrictModel):
    """Defaults of a store that names no embedding model, or no provider of its index."""

    default_provider_id: Text | None = None
    default_embedding_model: QualifiedModel | None = None


def _form(value: Any) -> str:
    return "settings" if isinstance(value, dict | VectorStoreSettings) else "list"


VectorStores = Annotated[
    Annotated[VectorStoreSettings, Tag("settings")] | Annotated[tuple[VectorStoreConfig, ...], Tag("list")],
    Discriminator(_form),
]
"""A list of stores, or a mapping of settings: Llama Stack has both under one key."""


def speaks_of_vectors(config: Config) -> bool:
    """Return whether a configuration serves vector stores because it says so, not because it says nothing."""
    if "vector_io" not in config.apis:
        return False
    says = {"apis", "vector_stores", "vector_dbs"} & config.model_fields_set
    return bool(says or config.providers.get("vector_io"))


def with_own_embeddings(config: Config) -> Config:
    """Return the configuration with the server's own embedding model, where one is needed and it names none.

    Without the extra that brings that model, the configuration stays as it is.
    """
    if not lacks_embeddings(config) or find_spec(OWN_PROVIDER) is None:
        return config
    listed = config.providers.get("inference", ())
    own = own_provider([(each.provider_id, each.provider_type) for each in listed])
    if own not in {each.provider_id for each in listed}:
        listed = (*listed, WordLlamaProvider(provider_id=own, provider_type=WORD_LLAMA))
    model = ModelConfig(
        model_id=OWN_MODEL,
        provider_id=own,
        model_type="embedding",
        metadata={"embedding_dimension": OWN_DIMENSIONS},
    )
    changes = {"providers": {**config.providers, "inference": listed}, "models": (*config.models, model)}
    return config.model_copy(update=changes)


def lacks_embeddings(config: Config) -> bool:
    """Return whether vector stores are served, and no model of the configuration makes embeddings for them."""
    return speaks_of_vectors(config) and all(model.model_type != "embedding" for model in config.models)


def own_provider(listed: Iterable[tuple[str, str]]) -> str:
    """Return the id of the provider of the server's own embedding model.

    `listed` are the providers of inference with their types: one of them that has the model, or else a further one.
    """
    kinds = dict(listed)
    numbered = (f"{OWN_PROVIDER}-{number}" for number in range(2, len(kinds) + 3))
    there = (name for name, kind in kinds.items() if kind == WORD_LLAMA)
    free = (name for name in (OWN_PROVIDER, *numbered) if name not in kinds)
    return next(chain(there, free))
