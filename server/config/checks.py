"""Checks across fields: duplicate ids, unresolved references, settings that need each other.

The checks read the tree rather than the models, so that they report together with mistakes of other kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from policy.model_names import model_names
from policy.source.diagnostics import Findings, hint_of, quoted
from server.config.api_names import PROVIDED_APIS
from server.config.identity_checks import check_authentication
from server.config.local_models import check_local_models
from server.config.model_checks import check_choices
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.shield_checks import check_shields
from server.config.tool_group_checks import check_tool_groups
from server.config.tree import Path, TreeReader
from server.config.vector_io import check_vector_io
from server.config.vector_store_checks import check_vector_stores

_QUOTA_STORE: Final[Path] = ("server", "quota", "kvstore")
_OF_KEYS: Final[tuple[Path, ...]] = (
    ("storage", "stores", "metadata"),
    ("storage", "stores", "prompts"),
    ("storage", "stores", "usage"),
    _QUOTA_STORE,
)
"""The stores that hold keys and values; the others are tables."""

_PAIRS: Final[tuple[tuple[Path, tuple[str, str], str], ...]] = (
    (("server",), ("tls_certfile", "tls_keyfile"), "HTTPS takes both, HTTP neither"),
    (
        ("storage", "blobs"),
        ("access_key_id", "secret_access_key"),
        "a bucket takes both, and neither where the machine has credentials of its own",
    ),
    (("server", "opa"), ("url", "token"), "an external OPA takes both, one that the server starts neither"),
)


def check(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes between fields to the findings."""
    _provider_ids(reading, findings)
    check_local_models(reading, findings)
    check_vector_io(reading, findings)
    check_vector_stores(reading, findings)
    check_shields(reading, findings)
    check_tool_groups(reading, findings)
    _apis(reading, findings)
    _models(reading, findings)
    check_choices(reading, findings)
    _stores(reading, findings)
    _pairs(reading, findings)
    check_authentication(reading, findings)


def _provider_ids(reading: TreeReader, findings: Findings) -> None:
    for api in PROVIDED_APIS:
        lines: dict[str, int] = {}
        for path, provider in reading.entries(("providers", api)):
            given = provider.get("provider_id")
            if not isinstance(given, RawValue):
                continue
            span = reading.span((*path, "provider_id"))
            if given.text in lines:
                message = f"{given.described()} is the `provider_id` in line {lines[given.text]} already"
                findings.error("duplicate-id", span, message, f"give each provider of `{api}` its own")
            lines.setdefault(given.text, span.line)


def _apis(reading: TreeReader, findings: Findings) -> None:
    apis = reading.find(("apis",))
    if not isinstance(apis, tuple) or not all(isinstance(api, RawValue) for api in apis):
        return
    listed = {api.text for api in apis if isinstance(api, RawValue)}
    for api in PROVIDED_APIS:
        if api not in listed and reading.find(("providers", api)):
            message = f"`{api}` has providers, and `apis` leaves it out"
            findings.error("unlisted-api", reading.span(("providers", api)), message, "list it there")


def _models(reading: TreeReader, findings: Findings) -> None:
    known = [provider.get("provider_id") for _, provider in reading.entries(("providers", "inference"))]
    taken: dict[str, tuple[int, bool]] = {}
    for path, model in reading.entries(("models",)):
        provider_id, model_id = model.get("provider_id"), model.get("model_id")
        if isinstance(provider_id, RawValue):
            _model_provider((*path, "provider_id"), provider_id, known, reading, findings)
        if isinstance(provider_id, RawValue) and isinstance(model_id, RawValue):
            parts = (provider_id, model_id, model.get("provider_model_id"))
            _model_name((*path, "model_id"), parts, taken, reading, findings)


def _model_provider(
    path: Path, wanted: RawValue, known: Sequence[object], reading: TreeReader, findings: Findings
) -> None:
    ids = [given.text for given in known if isinstance(given, RawValue)]
    if wanted.text in ids or UNRESOLVED in known:
        return
    if not wanted.variables and wanted.text in reading.switched_off:
        variable = reading.switched_off[wanted.text]
        message = f"the provider {wanted.described()} is switched off while `{variable}` is not set"
        findings.error("unknown-provider", reading.span(path), message, "set it, or leave this entry out")
        return
    shown = [given.text for given in known if isinstance(given, RawValue) and not given.variables]
    hint = hint_of("" if wanted.variables else wanted.text, shown) if shown else ""
    message = f"no provider of `inference` is called {wanted.described()}"
    findings.error("unknown-provider", reading.span(path), message, hint or "add it under `providers`")


def _model_name(
    path: Path,
    parts: tuple[RawValue, RawValue, object],
    taken: dict[str, tuple[int, bool]],
    reading: TreeReader,
    findings: Findings,
) -> None:
    """Report a name that two models share; `taken` holds each name's line, and whether it is a bare `model_id`.

    Two providers may have a model of one `model_id`. Rules about that name are about both of them, and requests have to
    name one of them in full.
    """
    provider_id, model_id, own = parts
    if own is UNRESOLVED:
        return
    span = reading.span(path)
    names = model_names(provider_id.text, model_id.text, own.text if isinstance(own, RawValue) else None)
    shared = next((name for name in names if name in taken), None)
    if shared is not None:
        line, bare = taken[shared]
        from_environment = any(isinstance(part, RawValue) and part.variables for part in parts)
        which = "a name" if from_environment else f"the name {quoted(shared)}"
        message = f"this model shares {which} with the model in line {line}"
        if bare and shared == model_id.text:
            findings.warning("shared-model-id", span, message, "requests have to name the provider too")
        else:
            findings.error("ambiguous-model", span, message, "give one of them another `model_id`")
    for name in names:
        taken.setdefault(name, (span.line, name == model_id.text))


def _stores(reading: TreeReader, findings: Findings) -> None:
    stores: list[Path] = [("storage", "stores", store) for store in reading.mapping(("storage", "stores"))]
    for store in [*stores, _QUOTA_STORE]:
        _backend((*store, "backend"), store in _OF_KEYS, reading, findings)
    for path, _ in reading.entries(("providers", "agents")):
        kept: Path = (*path, "config", "persistence")
        _backend((*kept, "agent_state", "backend"), True, reading, findings)
        _backend((*kept, "responses", "backend"), False, reading, findings)
    _own_namespaces(reading, findings)


def _backend(path: Path, holds_keys: bool, reading: TreeReader, findings: Findings) -> None:
    """Report a reference at `path` that names no backend of the right kind: for keys and values, or for tables."""
    backends = reading.mapping(("storage", "backends"))
    wanted = reading.find(path)
    if not isinstance(wanted, RawValue):
        return
    if wanted.text not in backends:
        usable = [
            name for name in backends if _holds(name, reading, keys=holds_keys, counters=path[:-1] == _QUOTA_STORE)
        ]
        hint = hint_of("" if wanted.variables else wanted.text, usable)
        message = f"no backend is called {wanted.described()}"
        findings.error("unknown-backend", reading.span(path), message, hint or "add it under `storage.backends`")
        return
    kind = reading.find(("storage", "backends", wanted.text, "type"))
    if isinstance(kind, RawValue) and kind.text.partition("_")[0] != ("kv" if holds_keys else "sql"):
        message = f"the backend {wanted.described()} is of type {kind.described()}"
        hint = f"this store takes a backend whose type starts with `{'kv_' if holds_keys else 'sql_'}`"
        findings.error("wrong-backend", reading.span(path), message, hint)
    elif isinstance(kind, RawValue) and kind.text == "kv_redis" and path[:-1] != _QUOTA_STORE:
        message = f"the backend {wanted.described()} is of type `kv_redis`, which keeps counters and no records"
        findings.error("wrong-backend", reading.span(path), message, "use a `kv_sqlite` or a `kv_postgres` backend")


def _holds(backend: str, reading: TreeReader, *, keys: bool, counters: bool) -> bool:
    """Return whether a store of keys and values, or of tables, can be in this backend; `counters` are not records."""
    kind = reading.find(("storage", "backends", backend, "type"))
    if not isinstance(kind, RawValue) or (kind.text == "kv_redis" and not counters):
        return False
    return kind.text.startswith("kv_" if keys else "sql_")


def _own_namespaces(reading: TreeReader, findings: Findings) -> None:
    """Report two stores that share one namespace of a backend. A shared `table_name` is reported with the policies."""
    taken: dict[tuple[str, str], str] = {}
    for store in reading.mapping(("storage", "stores")):
        backend = reading.find(("storage", "stores", store, "backend"))
        path: Path = ("storage", "stores", store, "namespace")
        name = reading.find(path)
        if not isinstance(backend, RawValue) or not isinstance(name, RawValue):
            continue
        place = (backend.text, name.text)
        if place in taken:
            message = f"`{store}` and `{taken[place]}` would be one table in one backend"
            findings.error("shared-table", reading.span(path), message, "give each its own `namespace`")
        taken.setdefault(place, store)


def _pairs(reading: TreeReader, findings: Findings) -> None:
    for parent, pair, hint in _PAIRS:
        block = reading.mapping(parent)
        given = [key for key in pair if block.get(key) is not None]
        if len(given) == 1:
            lacking = next(key for key in pair if key not in given)
            message = f"`{given[0]}` needs `{lacking}` beside it"
            findings.error("half-a-pair", reading.span((*parent, given[0])), message, hint)
    server = reading.mapping(("server",))
    if "tls_cafile" in server and server.get("tls_certfile") is None:
        message = "`tls_cafile` asks clients for certificates, which takes HTTPS"
        hint = "add `tls_certfile` and `tls_keyfile`"
        findings.error("half-a-pair", reading.span(("server", "tls_cafile")), message, hint)
