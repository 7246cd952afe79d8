"""The types of providers that this version serves, taken from the models of `providers`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args

from pydantic import Tag

from server.config.apis import InferenceProvider, SafetyProvider, VectorIoProvider
from server.config.batches import REFERENCE, BatchesProvider
from server.config.providers import ProviderConfig, ProviderSettings
from server.config.tool_runtime import ToolRuntimeProvider

_UNIONS: Final[Mapping[str, Any]] = {
    "inference": InferenceProvider,
    "safety": SafetyProvider,
    "tool_runtime": ToolRuntimeProvider,
    "vector_io": VectorIoProvider,
}

_ALONE: Final[Mapping[str, Mapping[str, type[ProviderConfig]]]] = {"batches": {REFERENCE: BatchesProvider}}
"""The types of an API that has one."""


@cache
def provider_types(api: str = "inference") -> Mapping[str, type[ProviderConfig]]:
    """Return the model of each `provider_type` of an API."""
    if api in _ALONE:
        return _ALONE[api]
    found: dict[str, type[ProviderConfig]] = {}
    for member in get_args(get_args(_UNIONS[api])[0]):
        model, *marks = get_args(member)
        found.update((mark.tag, model) for mark in marks if isinstance(mark, Tag))
    return found


def settings_of(provider_type: str, api: str = "inference") -> type[ProviderSettings]:
    """Return the model of the `config` of a type that is served for an API."""
    settings = provider_types(api)[provider_type].model_fields["config"].annotation
    if not isinstance(settings, type) or not issubclass(settings, ProviderSettings):
        raise TypeError(f"{provider_type} has no settings")
    return settings
