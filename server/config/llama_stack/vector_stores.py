"""Vector stores: what new ones are made with, and the lists of those that are there from the start."""

from __future__ import annotations

from typing import Final, Protocol

from policy.source.diagnostics import Span, quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, below, entries, is_nothing, items, meant, text_of
from server.config.vector_stores import VectorStoreConfig, VectorStoreSettings

_LISTS: Final = ("vector_stores", "vector_dbs")
_PROVIDER: Final = "default_provider_id"
_MODEL: Final = "default_embedding_model"
_IDS: Final = ("vector_store_id", "vector_db_id")


class KnownIndexes(Protocol):
    """The providers of vector stores after their translation."""

    indexes: list[str]
    """The ids of those that are served, as far as the file says them."""


def has_foreign_settings(node: Node | None) -> bool:
    """Return whether `vector_stores` holds settings that only Llama Stack has."""
    return isinstance(node, Mapping) and not node.entries.keys() <= {*VectorStoreSettings.keys()}


def translate_vector_stores(top: Entries, providers: KnownIndexes, journal: Journal) -> Entries:
    """Return the top level with what this server has of vector stores, once its models are translated."""
    apis = top["apis"].node if "apis" in top else None
    is_served = not isinstance(apis, Sequence) or any(text_of(api) == "vector_io" for api in apis.items)
    kept: Entries = {}
    for key, entry in top.items():
        if key not in _LISTS or is_nothing(entry.node):
            kept[key] = entry
        elif not is_served:
            sentence = f"{quoted(key)} has no effect while `apis` leaves `vector_io` out"
            journal.add(Kind.IGNORED, entry.key_span, sentence)
        elif isinstance(entry.node, Mapping) and key == "vector_stores":
            settings = _settings(entry.node, top, providers, journal)
            if settings.entries:
                kept[key] = Entry(entry.key_span, settings)
        elif isinstance(entry.node, Sequence):
            found = [_store(item, providers, journal) for item in entry.node.items]
            kept[key] = Entry(entry.key_span, Sequence(tuple(each for each in found if each), entry.node.span))
        else:
            kept[key] = entry
    return kept


def _settings(node: Mapping, top: Entries, providers: KnownIndexes, journal: Journal) -> Mapping:
    kept: Entries = {}
    for key, entry in node.entries.items():
        if key not in VectorStoreSettings.keys():  # noqa: SIM118 - a method of the model, which is no mapping
            journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} has no counterpart here")
        elif is_nothing(entry.node):
            continue
        elif key == _PROVIDER and _is_gone(text_of(entry.node), providers):
            sentence = f"{quoted(key)} is left out, since no such provider of `vector_io` is served"
            journal.add(Kind.REPLACED, entry.key_span, sentence, "the first one is the default")
        elif key == _MODEL and not _is_listed(entry.node, top):
            sentence = f"{quoted(key)} is left out, since no such model is listed here"
            advice = "list it under `models` with `model_type: embedding`; without one, the server brings its own along"
            journal.add(Kind.REPLACED, entry.key_span, sentence, advice)
        else:
            kept[key] = entry
            journal.add(Kind.KEPT, entry.key_span, quoted(key))
    return Mapping(kept, node.span)


def _is_gone(written: str | None, providers: KnownIndexes) -> bool:
    """Return whether a text is the id of a provider that isn't served, as far as the file says it."""
    word = None if written is None else meant(written)
    return word is not None and word not in providers.indexes


def _is_listed(wanted: Node, top: Entries) -> bool:
    """Return whether an embedding model of that provider is listed, as far as the file says it."""
    provider, model = (text_of(below(wanted, key)) for key in ("provider_id", "model_id"))
    listed = items(top["models"].node) if "models" in top else ()
    return any(
        text_of(below(item, "provider_id")) == provider
        and model in (text_of(below(item, "model_id")), text_of(below(item, "provider_model_id")))
        and text_of(below(item, "model_type")) == "embedding"
        for item in listed
    )


def _store(node: Node, providers: KnownIndexes, journal: Journal) -> Node | None:
    """Return a store; None for one whose provider isn't served, which is reported."""
    if not isinstance(node, Mapping):
        return node
    fields = entries(node)
    name = next((text_of(fields[key].node) for key in _IDS if key in fields), None)
    which = "a vector store" if name is None else f"the vector store {quoted(name)}"
    if "provider_id" in fields and _is_gone(text_of(fields["provider_id"].node), providers):
        span: Span = fields["provider_id"].key_span
        journal.follow(Kind.NOT_SERVED, span, f"{which} is in an index that is not served", "its content stays there")
        return None
    known = VectorStoreConfig.keys()
    for key in [key for key in fields if key not in known]:
        journal.add(Kind.IGNORED, fields.pop(key).key_span, f"{quoted(key)} has no counterpart here")
    journal.add(Kind.KEPT, node.span, which)
    return Mapping(fields, node.span)
