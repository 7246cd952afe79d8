"""The provider of `batches`: how many requests of batches are answered at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from server.config.providers import ProviderConfig, ProviderSettings
from server.config.types import one_of, whole_number

REFERENCE: Final = "inline::reference"


class BatchesSettings(ProviderSettings):
    """The settings of `inline::reference`, each for one process; None leaves the choice to the server."""

    max_concurrent_batches: Annotated[int, whole_number(1, 1000)] | None = None
    max_concurrent_requests_per_batch: Annotated[int, whole_number(1, 1000)] | None = None


class BatchesProvider(ProviderConfig):
    """The server itself, which answers the lines of batches as it answers requests."""

    provider_type: Annotated[Literal["inline::reference"], one_of(REFERENCE)]
    config: BatchesSettings = BatchesSettings()


def batch_settings(providers: Mapping[str, Sequence[ProviderConfig]]) -> BatchesSettings:
    """Return the settings of the provider of batches, which a configuration need not have."""
    for provider in providers.get("batches", ()):
        if isinstance(provider, BatchesProvider):
            return provider.config
    return BatchesSettings()
