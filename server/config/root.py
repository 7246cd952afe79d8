"""The whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from server.config.api_names import PROVIDED_APIS
from server.config.apis import ApiName, ProvidersConfig, needs, not_yet
from server.config.base import StrictModel
from server.config.models import ModelConfig
from server.config.server import ServerConfig
from server.config.storage import StorageConfig
from server.config.types import refusal, scalar


def _version(value: object) -> object:
    if isinstance(value, int):
        return value
    if scalar(value, "the number 2").text != "2":
        raise refusal("unknown-version", "is 2 in every configuration that this version reads")
    return 2


class Config(StrictModel):
    """A configuration file. Every part has a default, and an empty part of the file is an error.

    `vector_stores` and the lists after it may stand there empty; this version registers nothing of these kinds.
    """

    version: Annotated[Literal[2], BeforeValidator(_version)] = 2
    apis: tuple[ApiName, ...] = PROVIDED_APIS
    providers: ProvidersConfig = Field(default_factory=dict)
    storage: StorageConfig = StorageConfig()
    models: tuple[ModelConfig, ...] = ()
    shields: tuple[Annotated[Any, needs("safety", "a shield")], ...] = ()
    vector_stores: tuple[Annotated[Any, not_yet("a vector store")], ...] = ()
    vector_dbs: tuple[Annotated[Any, not_yet("a vector store")], ...] = ()
    datasets: tuple[Annotated[Any, needs("datasetio", "a dataset")], ...] = ()
    scoring_fns: tuple[Annotated[Any, needs("scoring", "a scoring function")], ...] = ()
    benchmarks: tuple[Annotated[Any, needs("eval", "a benchmark")], ...] = ()
    tool_groups: tuple[Annotated[Any, needs("tool_runtime", "a tool group")], ...] = ()
    server: ServerConfig = ServerConfig()
