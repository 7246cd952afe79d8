"""The translation of a whole configuration, section by section."""

from __future__ import annotations

from collections.abc import Mapping as Environ
from typing import Final

from policy.authentication import OLD_KEYS
from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping
from server.config.llama_stack.authentication import translate_auth
from server.config.llama_stack.changes import Journal, Kind, Translation
from server.config.llama_stack.nodes import Entries, below, entries, is_nothing, is_null
from server.config.llama_stack.providers import Providers
from server.config.llama_stack.resources import hoist, translate_resources
from server.config.llama_stack.safety import translate_safety
from server.config.llama_stack.server_section import translate_server
from server.config.llama_stack.storage import old_stores, translate_storage
from server.config.llama_stack.tool_groups import translate_tool_groups
from server.config.llama_stack.vector_stores import has_foreign_settings, translate_vector_stores

_NAME: Final = "names a distribution, and nothing here depends on it"
HARMLESS: Final = {
    "distro_name": _NAME,
    "image_name": _NAME,
    "additional_pip_packages": "is for the build of a distribution",
    "built_at": "is for the build of a distribution",
    "conda_env": "is for the build of a distribution",
    "container_image": "is for the build of a distribution",
    "docker_image": "is for the build of a distribution",
    "image_type": "is for the build of a distribution",
    "external_apis_dir": "is where Llama Stack finds further code, and this server loads none",
    "external_providers_dir": "is where Llama Stack finds further code, and this server loads none",
    "logging": "is about the log of Llama Stack; here `server.decision_log` is about that of decisions",
}
"""Keys that are left out without a change for callers, and why."""

_STORES: Final = ("metadata_store", "inference_store", "conversations_store")
_SETTINGS_OF: Final = {"telemetry": "telemetry"}
"""Keys at the top that are settings of an API, where they hold a mapping."""

_TOO_OLD: Final = ("api_providers", "apis_to_serve", "provider_map", "routing_table")
_MARKS: Final = frozenset({*HARMLESS, *_STORES, *_TOO_OLD, "registered_resources", "connectors", "distribution_spec"})
"""Keys that only configurations of Llama Stack have at the top."""


def imported(document: Mapping) -> Translation:
    """Return the configuration of this server that says what `document`, one of Llama Stack, says.

    Leaves out what isn't served. What can't be translated stands in the findings, and then the document is of no use.
    """
    return _translated(document, Journal())


def for_start(document: Mapping, environ: Environ[str, str]) -> Translation:
    """Return `document` as it can be served; it stays as it is unless it is one of Llama Stack.

    A part that isn't served is an error in the findings, unless `environ` switches it off, as is what can't be
    translated.
    """
    if not is_foreign(document):
        return Translation(document)
    return _translated(document, Journal(environ))


def is_foreign(document: Mapping) -> bool:
    """Return whether the document has something that only configurations of Llama Stack have."""
    if not _MARKS.isdisjoint(document.entries) or below(document, "providers", "files") is not None:
        return True
    if any(isinstance(below(document, key), Mapping) for key in _SETTINGS_OF):
        return True
    if has_foreign_settings(below(document, "vector_stores")):
        return True
    auth = below(document, "server", "auth")
    return isinstance(auth, Mapping) and not set(OLD_KEYS).isdisjoint(auth.entries)


def _translated(document: Mapping, journal: Journal) -> Translation:
    product = "ogx" if "distro_name" in document.entries else "llama-stack"
    top = _without_foreign_keys(entries(document), journal)
    top = hoist(top, journal)
    top = old_stores(top, journal)
    storage = translate_storage(top, document.span, product, journal)
    providers = Providers(top, storage, journal)
    top = providers.translated()
    top = translate_resources(top, providers, journal)
    top = translate_vector_stores(top, providers, journal)
    top = translate_safety(top, providers, journal)
    top = translate_tool_groups(top, providers, journal)
    top = translate_server(top, product, translate_auth, journal)
    result = Mapping(top, document.span)
    return Translation(result, True, tuple(journal.changes), journal.findings)


def _without_foreign_keys(top: Entries, journal: Journal) -> Entries:
    kept: Entries = {}
    for key, entry in top.items():
        if key in HARMLESS:
            journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} {HARMLESS[key]}")
        elif key in _TOO_OLD:
            hint = "write `apis` and `providers`, as later versions of Llama Stack do"
            journal.refuse(entry.key_span, f"{quoted(key)} is of a form that is older than `providers`", hint)
        elif key == "distribution_spec":
            hint = "import the configuration that it is run with, often `run.yaml` or `config.yaml`"
            journal.refuse(entry.key_span, "this file says how a distribution is built", hint)
        elif not _is_setting_of_missing(key, entry, journal):
            kept[key] = entry
    return kept


def _is_setting_of_missing(key: str, entry: Entry, journal: Journal) -> bool:
    """Report and return whether the key holds settings of an API that isn't served."""
    if key == "connectors":
        if not is_nothing(entry.node):
            journal.missing("connectors", entry.key_span, "`connectors`")
        return True
    if key not in _SETTINGS_OF or not (isinstance(entry.node, Mapping) or is_null(entry.node)):
        return False
    if not is_nothing(entry.node):
        journal.without_effect(_SETTINGS_OF[key], entry.key_span, quoted(key))
    return True
