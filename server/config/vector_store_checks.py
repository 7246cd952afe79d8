"""Checks of vector stores in a configuration: their names, their models, and the providers of their indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from policy.model_names import model_names
from policy.source.diagnostics import Findings, hint_of
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.tree import Path, TreeReader
from server.config.vector_stores import OWN_DIMENSIONS, OWN_MODEL, OWN_PROVIDER, own_provider

_LISTS: Final = ("vector_stores", "vector_dbs")
_IDS: Final = ("vector_store_id", "vector_db_id")
_DEFAULT_INDEX: Final = "lancedb"
_SETTINGS: Final = ("vector_stores",)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of the file, with all of its names."""

    names: tuple[str, ...]
    is_embedding: bool
    dimension: str | None


def check_vector_stores(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes in vector stores, and in what new ones are made with, to the findings."""
    entries = [entry for section in _LISTS for entry in reading.entries((section,))]
    if not _is_served(reading):
        for section in _LISTS:
            if reading.find((section,)):
                message = f"`{section}` needs `vector_io`, and `apis` leaves it out"
                findings.error("unlisted-api", reading.span((section,)), message, "list it there")
        return
    models = [*_models(reading), *_own_model(reading)]
    taken: dict[str, int] = {}
    for path, entry in entries:
        _check_id(path, entry, taken, reading, findings)
        given = entry.get("embedding_model")
        if isinstance(given, RawValue):
            _check_model((*path, "embedding_model"), given, entry, models, reading, findings)
        _check_provider((*path, "provider_id"), entry.get("provider_id"), reading, findings)
    _check_settings(models, reading, findings)
    _check_own_model(models, reading, findings)


def _is_served(reading: TreeReader) -> bool:
    apis = reading.find(("apis",))
    if not isinstance(apis, tuple):
        return True
    return any(api is UNRESOLVED or (isinstance(api, RawValue) and api.text == "vector_io") for api in apis)


def _models(reading: TreeReader) -> Iterator[_Model]:
    for _, entry in reading.entries(("models",)):
        provider_id, model_id, own = (entry.get(key) for key in ("provider_id", "model_id", "provider_model_id"))
        kind, metadata, listed = entry.get("model_type"), entry.get("metadata"), entry.get("aliases")
        if not isinstance(provider_id, RawValue) or not isinstance(model_id, RawValue):
            continue
        aliases = [each.text for each in listed if isinstance(each, RawValue)] if isinstance(listed, tuple) else []
        own_name = own.text if isinstance(own, RawValue) else None
        dimension = metadata.get("embedding_dimension") if isinstance(metadata, dict) else None
        yield _Model(
            model_names(provider_id.text, model_id.text, own_name, tuple(aliases)),
            isinstance(kind, RawValue) and kind.text == "embedding",
            dimension.text if isinstance(dimension, RawValue) else None,
        )


def _own_model(reading: TreeReader) -> list[_Model]:
    """Return the server's own model, which there is where no other makes embeddings."""
    if any(model.is_embedding for model in _models(reading)) or find_spec(OWN_PROVIDER) is None:
        return []
    listed = [
        (name.text, kind.text)
        for _, provider in reading.entries(("providers", "inference"))
        if isinstance(name := provider.get("provider_id"), RawValue)
        and isinstance(kind := provider.get("provider_type"), RawValue)
    ]
    return [_Model(model_names(own_provider(listed), OWN_MODEL, None), True, str(OWN_DIMENSIONS))]


def _check_id(
    path: Path, entry: Mapping[str, object], taken: dict[str, int], reading: TreeReader, findings: Findings
) -> None:
    key = next((key for key in _IDS if key in entry), "")
    given = entry.get(key)
    if not isinstance(given, RawValue):
        return
    span = reading.span((*path, key))
    if given.text in taken:
        message = f"{given.described()} is the id of the vector store in line {taken[given.text]} already"
        findings.error("duplicate-id", span, message, "give each vector store its own")
    taken.setdefault(given.text, span.line)


def _check_model(
    path: Path,
    given: RawValue,
    entry: Mapping[str, object],
    models: list[_Model],
    reading: TreeReader,
    findings: Findings,
) -> None:
    model = _named(path, given, given.text, models, reading, findings)
    dimension = entry.get("embedding_dimension")
    if model is None or model.dimension is None or not isinstance(dimension, RawValue):
        return
    if dimension.text != model.dimension:
        message = (
            f"the embeddings of {given.described()} have {model.dimension} dimensions, not {dimension.described()}"
        )
        span = reading.span((*path[:-1], "embedding_dimension"))
        findings.error("unlike-models", span, message, "leave it out, or name another model")


def _named(
    path: Path, given: RawValue, name: str, models: list[_Model], reading: TreeReader, findings: Findings
) -> _Model | None:
    """Return the embedding model that the file names there; None for another or an unknown one, which is reported."""
    span, found = reading.span(path), [each for each in models if name in each.names]
    if len(found) > 1:
        message = f"more than one model is called {given.described()}"
        findings.error("ambiguous-model", span, message, "name its provider too")
        return None
    if not found:
        offered = [model.names[0] for model in models if model.is_embedding]
        message = f"no model of the configuration is called {given.described()}"
        hint = hint_of("" if given.variables else name, offered) if offered else ""
        findings.error("unknown-model", span, message, hint or "add it under `models`")
        return None
    if not found[0].is_embedding:
        message = f"the model {given.described()} makes no embeddings"
        findings.error("unlike-models", span, message, "name one whose `model_type` is `embedding`")
        return None
    return found[0]


def _check_provider(path: Path, given: object, reading: TreeReader, findings: Findings) -> None:
    if not isinstance(given, RawValue):
        return
    listed = [provider.get("provider_id") for _, provider in reading.entries(("providers", "vector_io"))]
    if UNRESOLVED in listed:
        return
    ids = [each.text for each in listed if isinstance(each, RawValue)] or [_DEFAULT_INDEX]
    if given.text not in ids:
        message = f"no provider of `vector_io` is called {given.described()}"
        hint = hint_of("" if given.variables else given.text, ids)
        findings.error("unknown-provider", reading.span(path), message, hint)


def _check_settings(models: list[_Model], reading: TreeReader, findings: Findings) -> None:
    settings = reading.mapping(_SETTINGS)
    _check_provider((*_SETTINGS, "default_provider_id"), settings.get("default_provider_id"), reading, findings)
    given = settings.get("default_embedding_model")
    if not isinstance(given, dict):
        return
    provider_id, model_id = given.get("provider_id"), given.get("model_id")
    if isinstance(provider_id, RawValue) and isinstance(model_id, RawValue):
        path = (*_SETTINGS, "default_embedding_model", "model_id")
        _named(path, model_id, f"{provider_id.text}/{model_id.text}", models, reading, findings)


def _check_own_model(models: list[_Model], reading: TreeReader, findings: Findings) -> None:
    """Warn where vector stores are served and nothing here can make embeddings for them."""
    if any(model.is_embedding for model in models):
        return
    places = [("providers", "vector_io"), *((section,) for section in _LISTS), ("apis",)]
    place = next((place for place in places if reading.find(place)), None)
    if place is not None:
        message = "no model here makes embeddings, and the server's own needs the extra `local`, which is not installed"
        findings.warning(
            "missing-extra", reading.span(place), message, "install `ostiary[local]`, or add an embedding model"
        )
