"""The whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from server.config.api_names import PROVIDED_APIS
from server.config.apis import ApiName, ProvidersConfig, needs
from server.config.base import StrictModel
from server.config.models import ModelConfig
from server.config.safety import SafetySettings, ShieldConfig
from server.config.server import ServerConfig
from server.config.storage import StorageConfig
from server.config.tool_groups import ToolGroupConfig
from server.config.types import refusal, scalar
from server.config.vector_stores import VectorStoreConfig, VectorStores, VectorStoreSettings


def _version(value: object) -> object:
    if isinstance(value, int):
        return value
    if scalar(value, "the number 2").text != "2":
        raise refusal("unknown-version", "is 2 in every configuration that this version reads", "write `version: 2`")
    return 2


class Config(StrictModel):
    """A configuration file. Every part has a default, and an empty part of the file is an error.

    `datasets` and the lists after it may stand there empty; this version registers nothing of these kinds.
    `vector_stores` is a list like `vector_dbs`, or what new stores are made with.
    """

    version: Annotated[Literal[2], BeforeValidator(_version)] = 2
    apis: tuple[ApiName, ...] = PROVIDED_APIS
    providers: ProvidersConfig = Field(default_factory=dict)
    storage: StorageConfig = StorageConfig()
    models: tuple[ModelConfig, ...] = ()
    shields: tuple[ShieldConfig, ...] = ()
    safety: SafetySettings = SafetySettings()
    vector_stores: VectorStores = ()
    vector_dbs: tuple[VectorStoreConfig, ...] = ()
    datasets: tuple[Annotated[Any, needs("datasetio", "a dataset")], ...] = ()
    scoring_fns: tuple[Annotated[Any, needs("scoring", "a scoring function")], ...] = ()
    benchmarks: tuple[Annotated[Any, needs("eval", "a benchmark")], ...] = ()
    tool_groups: tuple[ToolGroupConfig, ...] = ()
    server: ServerConfig = ServerConfig()

    @property
    def stores_of_vectors(self) -> tuple[VectorStoreConfig, ...]:
        """The vector stores of both lists."""
        listed = () if isinstance(self.vector_stores, VectorStoreSettings) else self.vector_stores
        return (*listed, *self.vector_dbs)

    @property
    def vector_defaults(self) -> VectorStoreSettings:
        """What a vector store is made with that names nothing else."""
        return self.vector_stores if isinstance(self.vector_stores, VectorStoreSettings) else VectorStoreSettings()
