"""`server`: most keys are the same; defaults that restrict more than those of this server are written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, entries, is_null, may_be_nothing, plain_text, quoted_text

IGNORED: Final = {
    "disable_ipv6": "is not needed: `server.host` says the address",
    "registry_refresh_interval_seconds": "is not needed: the registry is read when it is asked",
}
"""Keys that are left out without a change for callers, and why."""

_QUOTA: Final = {"anonymous_max_requests": "100", "authenticated_max_requests": "1000"}
_CORS: Final[dict[str, tuple[str, ...]]] = {"allow_origins": (), "allow_methods": ("OPTIONS",), "allow_headers": ()}
_EVERYWHERE: Final = "write `host: 0.0.0.0` to be reached from other machines"

TranslateAuth: TypeAlias = Callable[[Entry, str, Journal], Entry]


def translate_server(top: Entries, product: str, translate_auth: TranslateAuth, journal: Journal) -> Entries:
    """Return the top level with its `server` translated."""
    entry = top.get("server")
    if entry is None or not isinstance(entry.node, Mapping):
        return top
    kept: Entries = {}
    for key, field in entry.node.entries.items():
        if key in IGNORED:
            journal.add(Kind.IGNORED, field.key_span, f"{quoted(key)} {IGNORED[key]}")
        elif is_null(field.node):
            journal.add(Kind.IGNORED, field.key_span, f"{quoted(key)} has no value")
        else:
            kept[key] = _field(key, field, product, translate_auth, journal)
            if kept[key] is field:
                journal.add(Kind.KEPT, field.key_span, f"`server.{key}`")
    if "host" not in kept and not journal.for_start:
        sentence = "the server listens on `127.0.0.1`, where Llama Stack listens on every address"
        journal.add(Kind.REPLACED, entry.key_span, sentence, _EVERYWHERE)
    return {**top, "server": Entry(entry.key_span, Mapping(kept, entry.node.span))}


def _field(key: str, field: Entry, product: str, translate_auth: TranslateAuth, journal: Journal) -> Entry:
    if key == "auth":
        return translate_auth(field, product, journal)
    if key == "quota" and isinstance(field.node, Mapping):
        defaults: dict[str, Node] = {name: plain_text(text, field.key_span) for name, text in _QUOTA.items()}
        return _with_defaults(key, field, defaults, journal)
    if key == "cors" and isinstance(field.node, Mapping):
        return _with_defaults(key, field, _cors_defaults(field), journal)
    return field


def _cors_defaults(field: Entry) -> dict[str, Node]:
    span = field.key_span
    return {name: Sequence(tuple(quoted_text(text, span) for text in texts), span) for name, texts in _CORS.items()}


def _with_defaults(key: str, field: Entry, defaults: dict[str, Node], journal: Journal) -> Entry:
    """Return a section with the defaults of Llama Stack for what it doesn't say."""
    values = {name: entry for name, entry in entries(field.node).items() if not is_null(entry.node)}
    for name in values.keys() & defaults.keys():
        if may_be_nothing(values[name].node):
            sentence = f"{quoted(name)} may be empty, and then nothing would be limited by it"
            journal.refuse(values[name].key_span, sentence, "write a default: `${env.NAME:=value}`")
    added = [name for name in defaults if name not in values]
    if not added:
        return field
    values |= {name: Entry(field.key_span, defaults[name]) for name in added}
    names = ", ".join(map(quoted, added))
    journal.add(Kind.REPLACED, field.key_span, f"{quoted(key)} has the defaults of Llama Stack: {names}")
    return Entry(field.key_span, Mapping(values, field.node.span))
