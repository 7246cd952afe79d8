"""Building of the indexes of vector stores that a configuration describes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from server.config import Config, ProviderConfig
from server.config.home import home
from server.config.storage import KvSqliteBackend
from server.config.vector_io import BucketOptions, FaissProvider, FaissSettings, LanceProvider, LanceSettings
from server.inference.members import MemberRules
from server.inference.provider import ByTask, HealthStatus, Provider, ProviderHealth
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import VectorIndex
from server.storage.vectors.lance_index import LanceIndex
from server.storage.vectors.lance_place import BucketPlace, Directory
from server.storage.vectors.opening import STARTING
from server.storage.vectors.shared import HERE, IN_BUCKET, SharedIndex
from server.telemetry.dependencies import Dependencies, Dependency

VECTOR_IO: Final = "vector_io"

DEFAULT: Final = "lancedb"
"""The `provider_id` of the index that there is where the configuration names none."""

_FOLDER: Final = "vectors"
_FAISS_FILE: Final = "faiss.db"
_BESIDE: Final = ".vectors"
_LOOK_SECONDS: Final = 0.1
_LOOKS: Final = 40


class VectorIndexes:
    """The indexes of a configuration by their `provider_id`; none where `apis` leaves `vector_io` out. `default` is the
    one of stores that name none.

    They are opened when the server starts if the configuration speaks of `vector_io`, and else at their first use.
    """

    def __init__(self, config: Config, dependencies: Dependencies) -> None:
        """Indexes are some of the `dependencies`."""
        self._config = config
        self.default = default_index(config)
        self._files: dict[Path, SharedIndex] = {}
        configured = config.providers.get(VECTOR_IO, ())
        providers = configured or (LanceProvider(provider_id=DEFAULT, provider_type="inline::lancedb"),)
        listed = VECTOR_IO in config.apis
        self._lazily = not configured and "apis" not in config.model_fields_set
        self._indexes = {each.provider_id: self._index(each) for each in (providers if listed else ())}
        for name, index in self._indexes.items():
            dependencies.add(Dependency(f"vectors:{name}", _Probe(index), provider_id=name))

    @property
    def ids(self) -> tuple[str, ...]:
        """The `provider_id` of each index."""
        return tuple(self._indexes)

    def of(self, provider_id: str) -> VectorIndex | None:
        """Return the index of a provider; None where there is none of this id."""
        return self._indexes.get(provider_id)

    def provider(self, provider_id: str) -> Provider:
        """Return the index as a provider that answers no requests for models, with its health."""
        return Provider(_Health(self._indexes[provider_id]), ByTask({}), MemberRules(), frozenset())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the indexes in the background for as long as the context lasts; entering it waits for nothing."""
        async with AsyncExitStack() as opened:
            for index in {id(index): index for index in self._indexes.values()}.values():
                await opened.enter_async_context(index.running())
            yield

    def _index(self, provider: ProviderConfig) -> SharedIndex:
        match provider:
            case LanceProvider(config=lance):
                return self._lance(lance)
            case FaissProvider(config=faiss):
                return self._faiss(faiss)
            case _:
                raise ValueError(f"no class serves the provider type `{provider.provider_type}`")

    def _lance(self, settings: LanceSettings) -> SharedIndex:
        if isinstance(settings.uri, str):
            return SharedIndex(LanceIndex(_bucket(settings.uri, settings.storage_options)), IN_BUCKET)
        folder = (settings.uri or home() / _FOLDER).absolute()
        return SharedIndex(LanceIndex(Directory(folder), lazily=self._lazily), HERE)

    def _faiss(self, settings: FaissSettings) -> SharedIndex:
        """Return the index of a file, which is one for all providers that name it."""
        file = self._file(settings).absolute()
        if file not in self._files:
            self._files[file] = SharedIndex(FaissIndex(file), HERE)
        return self._files[file]

    def _file(self, settings: FaissSettings) -> Path:
        if settings.kvstore is not None:
            return settings.kvstore.db_path
        if settings.persistence is None:
            return home() / _FAISS_FILE
        backend = self._config.storage.backends[settings.persistence.backend]
        if not isinstance(backend, KvSqliteBackend):
            # The check of the configuration has said so.
            raise TypeError("the vectors of `inline::faiss` need a file")
        # Not in the file itself: its other writers would wait for vectors.
        return backend.db_path.with_name(f"{backend.db_path.name}{_BESIDE}")


def default_index(config: Config) -> str | None:
    """Return the `provider_id` of the index of stores that name none; None where there is no index."""
    if VECTOR_IO not in config.apis:
        return None
    named = [provider.provider_id for provider in config.providers.get(VECTOR_IO, ())]
    return config.vector_defaults.default_provider_id or (named or [DEFAULT])[0]


class _Probe:
    """Probes an index, and gives one that is starting a few seconds."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    async def __call__(self) -> str | None:
        for _ in range(_LOOKS):
            if self._index.fault != STARTING:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return self._index.fault


class _Health:
    """The health of an index as that of a connection."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    async def start(self) -> None:
        """Do nothing: the indexes are opened together."""

    async def close(self) -> None:
        """Do nothing."""

    async def health(self) -> ProviderHealth:
        """Return whether the index is ready."""
        fault = self._index.fault
        return ProviderHealth(HealthStatus.OK) if fault is None else ProviderHealth(HealthStatus.ERROR, fault)


def _bucket(uri: str, options: BucketOptions | None) -> BucketPlace:
    given = BucketOptions() if options is None else options
    pair = (given.access_key_id, given.secret_access_key)
    keys = None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
    return BucketPlace(uri, given.region, given.endpoint, keys, given.session_token)
