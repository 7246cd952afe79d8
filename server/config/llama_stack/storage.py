"""`storage`: backends, stores, and the stores that older versions of Llama Stack keep at the top."""

from __future__ import annotations

from typing import Final

from policy.source.diagnostics import Span, quoted
from policy.source.document import Entry, Mapping, Node
from policy.source.environment import has_expression
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, below, block, entries, is_nothing, plain_text, quoted_text, text_of
from server.config.storage import StoresConfig, backend_models

_KINDS: Final = {"sqlite": "sqlite", "postgres": "postgres", "redis": "redis"}
_OLD: Final = {
    "metadata_store": ("metadata", "kv"),
    "inference_store": ("inference", "sql"),
    "conversations_store": ("conversations", "sql"),
}
"""Keys at the top of older configurations, with the store and the kind of backend that each stands for."""

_TABLES: Final = {"inference": "inference_store", "conversations": "openai_conversations", "files": "files_metadata"}
_NAMESPACES: Final = {"metadata": "registry"}
_ANOTHER_FILE: Final = ".ostiary"
IGNORED: Final = {
    "collection_name": "is not needed: tables have the names of the stores",
    "max_overflow": "is not needed: the server decides how many connections it has",
    "namespace": "is not needed: each store has its own",
    "pool_pre_ping": "is not needed: a broken connection is replaced",
    "pool_recycle": "is not needed: a broken connection is replaced",
    "pool_size": "is not needed: the server decides how many connections it has",
    "table_name": "is not needed: tables have the names of the stores",
}
"""Keys that are left out without a change for callers, and why."""

_LATER: Final = {"connectors": "connectors"}
_ELSEWHERE: Final = "is left out: `persistence.responses` of the provider of `agents` says where responses are"
_HOME: Final = "its records are in a file of the user's directory until `storage.stores` names a backend that is known"
_COUNTERS: Final = ("metadata", "prompts")
"""Stores of keys and values, which need a database that keeps records."""


class Storage:
    """The parts of `storage` under translation; None is a part that the configuration doesn't have."""

    def __init__(self, rest: Entries, backends: Entries, stores: Entries, span: Span, journal: Journal) -> None:
        self.blobs: Entry | None = rest.get("blobs")
        self._rest = rest
        self._backends = backends
        self._stores = stores
        self._span = span
        self._journal = journal

    def keep_files(self, entry: Entry) -> None:
        """Keep the records of files where `entry`, the `metadata_store` of a provider of files, says."""
        if "files" in self._stores or is_nothing(entry.node):
            return
        fields = entries(entry.node)
        if "backend" in fields:
            if text_of(fields["backend"].node) in self._backends:
                self._stores["files"] = entry
            return
        made = _old_store("files", "sql", entry, self._backends, self._journal)
        if made is not None:
            self._stores["files"] = made

    def kind_of(self, backend: str) -> str | None:
        """Return the type of a backend; None where the configuration has none of this name."""
        return text_of(below(self._backends[backend].node, "type")) if backend in self._backends else None

    def has_backend(self, entry: Entry | None) -> bool:
        """Return whether a reference names a backend that is kept; one that the environment says is taken for one."""
        name = None if entry is None else text_of(entry.node)
        return name is not None and (name in self._backends or has_expression(name))

    def put_into(self, top: Entries) -> Entries:
        """Return the top level with this storage; without one if there is nothing in it."""
        parts: Entries = {}
        for key, values in (("backends", self._backends), ("stores", self._stores)):
            if values:
                span = self._rest[key].key_span if key in self._rest else self._span
                parts[key] = Entry(span, Mapping(values, span))
        parts |= {key: entry for key, entry in self._rest.items() if key not in ("backends", "stores")}
        if self.blobs is not None:
            parts["blobs"] = self.blobs
        if not parts:
            return {key: entry for key, entry in top.items() if key != "storage"}
        span = top["storage"].key_span if "storage" in top else self._span
        return {**top, "storage": Entry(span, Mapping(parts, span))}


def old_stores(top: Entries, journal: Journal) -> Entries:
    """Return the top level with the stores of older versions as backends and stores under `storage`."""
    written = [key for key in _OLD if key in top]
    if not written:
        return top
    storage = entries(top["storage"].node) if "storage" in top else {}
    backends, stores = (entries(below(block_of(storage), key)) for key in ("backends", "stores"))
    span = top[written[0]].key_span
    for key in written:
        entry = top.pop(key)
        store, kind = _OLD[key]
        made = None if is_nothing(entry.node) else _old_store(store, kind, entry, backends, journal)
        if made is not None:
            stores[store] = made
            journal.add(Kind.MOVED, entry.key_span, f"{quoted(key)} is `storage.stores.{store}`")
    storage |= {"backends": Entry(span, Mapping(backends, span)), "stores": Entry(span, Mapping(stores, span))}
    return {**top, "storage": Entry(span, Mapping(storage, span))}


def block_of(values: Entries) -> Mapping:
    """Return a mapping whose own place is that of its first key."""
    first = next(iter(values.values()), None)
    return Mapping(values, Span("", 1, 1) if first is None else first.key_span)


def _old_store(store: str, kind: str, entry: Entry, backends: Entries, journal: Journal) -> Entry | None:
    """Return a store that an older version describes in place; adds its backend to `backends`."""
    fields = entries(entry.node)
    inner = entries(fields["sql_store_config"].node) if "sql_store_config" in fields else fields
    queue: Entries = {}
    if inner is not fields:
        queue = {key: field for key, field in fields.items() if key in ("max_write_queue_size", "num_writers")}
    word = text_of(inner["type"].node) if "type" in inner else None
    if word not in _KINDS:
        journal.add(Kind.NOT_SERVED, entry.key_span, f"a database of the type {quoted(word or '')}", _HOME)
        return None
    name, span = f"{kind}_{store}", entry.key_span
    typed = Entry(inner["type"].key_span, plain_text(f"{kind}_{_KINDS[word]}", inner["type"].node.span))
    backends[name] = Entry(span, Mapping({**inner, "type": typed}, entry.node.span))
    values: dict[str, Node] = {"backend": quoted_text(name, span)}
    if kind == "kv":
        values["namespace"] = quoted_text(_NAMESPACES[store], span)
    else:
        values["table_name"] = quoted_text(_TABLES[store], span)
    return Entry(span, Mapping({**block(values, span).entries, **queue}, span))


def translate_storage(top: Entries, place: Span, product: str, journal: Journal) -> Storage:
    """Return the storage of the configuration at `place`, with the backends and stores that are known here."""
    entry = top.get("storage")
    rest = entries(entry.node) if entry is not None else {}
    span = place if entry is None else entry.key_span
    backends: Entries = {}
    dropped: set[str] = set()
    for name, backend in entries(rest["backends"].node if "backends" in rest else None).items():
        translated = _backend(name, backend, product, journal)
        if translated is None:
            dropped.add(name)
        else:
            backends[name] = translated
    stores: Entries = {}
    for name, store in entries(rest["stores"].node if "stores" in rest else None).items():
        if _is_kept(name, store, backends, dropped, journal):
            stores[name] = store
    return Storage(rest, backends, stores, span, journal)


def _backend(name: str, entry: Entry, product: str, journal: Journal) -> Entry | None:
    """Return a backend; None for one of a type that isn't served, which is reported."""
    fields = entries(entry.node)
    kind = text_of(fields["type"].node) if "type" in fields else None
    if kind is None or has_expression(kind):
        return entry
    if kind not in backend_models():
        journal.add(Kind.NOT_SERVED, entry.key_span, f"the backend {quoted(name)} is of the type {quoted(kind)}", _HOME)
        return None
    known = backend_models()[kind].keys()
    kept: Entries = {}
    for key, field in fields.items():
        if key in known:
            if not is_nothing(field.node):
                kept[key] = field
        elif key in IGNORED:
            journal.add(Kind.IGNORED, field.key_span, f"{quoted(key)} {IGNORED[key]}")
        elif not is_nothing(field.node):
            sentence = f"{quoted(key)} is not a key of a backend here"
            journal.add(Kind.NOT_SERVED, field.key_span, sentence, "it is left out")
    if "db_path" in kept:
        kept["db_path"] = _another_file(kept["db_path"], journal)
    if kind.endswith("_postgres") and "db" not in kept:
        default = "ogx" if product == "ogx" else "llamastack"
        kept["db"] = Entry(entry.key_span, quoted_text(default, entry.key_span))
        journal.add(Kind.REPLACED, entry.key_span, f"the database of {quoted(name)} is called {quoted(default)}")
    journal.add(Kind.KEPT, entry.key_span, f"the backend {quoted(name)}")
    return Entry(entry.key_span, Mapping(kept, entry.node.span))


def _another_file(entry: Entry, journal: Journal) -> Entry:
    """Return the path of a file beside that of Llama Stack, whose tables have other columns."""
    written = text_of(entry.node)
    if written is None or written.endswith(_ANOTHER_FILE):
        return entry
    sentence = f"the file has {quoted(_ANOTHER_FILE)} at its end, since the tables of Llama Stack have other columns"
    journal.add(Kind.REPLACED, entry.key_span, sentence, "records are not carried over")
    return Entry(entry.key_span, plain_text(f"{written}{_ANOTHER_FILE}", entry.node.span))


def _is_kept(name: str, entry: Entry, backends: Entries, dropped: set[str], journal: Journal) -> bool:
    """Return whether a store is served; report it if not."""
    if is_nothing(entry.node):
        return False
    if name in _LATER:
        journal.without_effect(_LATER[name], entry.key_span, f"`storage.stores.{name}`")
        return False
    if name == "responses":
        journal.add(Kind.IGNORED, entry.key_span, f"`storage.stores.responses` {_ELSEWHERE}")
        return False
    if name not in StoresConfig.model_fields:
        return True
    backend = text_of(below(entry.node, "backend")) or ""
    if backend in dropped:
        journal.follow(Kind.NOT_SERVED, entry.key_span, f"the store {quoted(name)} needs {quoted(backend)}", _HOME)
        return False
    kind = text_of(below(backends[backend].node, "type")) if backend in backends else None
    if kind == "kv_redis" and name in _COUNTERS:
        sentence = (
            f"the store {quoted(name)} is in {quoted(backend)}, a Redis, which keeps counters here and no records"
        )
        journal.add(Kind.NOT_SERVED, entry.key_span, sentence, _HOME)
        return False
    journal.add(Kind.KEPT, entry.key_span, f"the store {quoted(name)}")
    return True
