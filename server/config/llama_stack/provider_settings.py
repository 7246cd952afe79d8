"""The settings of one provider of inference."""

from __future__ import annotations

import re
from typing import Final

from policy.source.diagnostics import Span, quoted
from policy.source.document import Entry, Mapping, Node
from policy.source.environment import has_expression
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, block, entries, is_nothing, is_null, plain_text, text_of
from server.config.provider_types import settings_of

_ADDRESSES: Final = ("base_url", "url")
_BARE: Final = {
    "https://api.cerebras.ai": "/v1",
    "https://api.groq.com": "/openai/v1",
    "https://integrate.api.nvidia.com": "/v1",
}
"""Addresses of services as older versions of Llama Stack write them, with the path that these put behind them."""

_BARE_ADDRESS: Final = re.compile(rf"(\$\{{env\.[A-Za-z0-9_]+:=)?({'|'.join(map(re.escape, _BARE))})/?(\}})?")
_APPENDING: Final = "append_api_version"
HARMLESS: Final = {
    "api_type": "is not needed: the address says it",
    "aws_role_arn": "is not needed: AWS's own variables are read where the file holds no credentials",
    "aws_role_session_name": "is not needed: AWS's own variables are read where the file holds no credentials",
    "aws_web_identity_token_file": "is not needed: AWS's own variables are read where the file holds no credentials",
    "max_tokens": "is for requests that say no `max_tokens`; here the provider's own default holds for these",
    "refresh_models": "is not needed: only what stands under `models`, or is registered, is served",
}
"""Keys that are left out without a change for callers, and why."""

HARMLESS_OF: Final = {"batches": {"kvstore": "is not needed: batches are in the database of the files"}}
"""As `HARMLESS`, for the providers of one API."""

_NO_SETTING: Final = "it is left out"
_NEVER_EMPTY: Final = frozenset({"guardrail", "guardrail_config", "guardrailConfig", "sha256"})
"""Keys of this server alone that restrict: an empty one stays, and is an error of the parser."""

_UNSET: Final = "has no value unless its variable is set"


def translate_settings(node: Node, provider_type: str, journal: Journal, api: str = "inference") -> Node:
    """Return the `config` of a provider of a type that is served for an API."""
    if not isinstance(node, Mapping):
        return node
    known = settings_of(provider_type, api).keys()
    harmless = HARMLESS | HARMLESS_OF.get(api, {})
    settings = _with_whole_address(entries(node), journal)
    kept: Entries = {}
    for key, entry in settings.items():
        if key in known:
            if key in _NEVER_EMPTY or not is_null(entry.node):
                kept[key] = entry
        elif key == "network" and isinstance(entry.node, Mapping):
            _network(entry.node, known, kept, journal)
        elif key in harmless:
            journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} {harmless[key]}")
        elif journal.is_unset(entry.node):
            journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} {_UNSET}")
        else:
            sentence = f"{quoted(key)} is not a setting of {quoted(provider_type)} here"
            journal.add(Kind.NOT_SERVED, entry.key_span, sentence, _NO_SETTING)
    return Mapping(kept, node.span)


def _with_whole_address(settings: Entries, journal: Journal) -> Entries:
    """Return the settings with the path in the address of the service that older versions put behind it themselves."""
    appending = settings.pop(_APPENDING, None)
    if appending is not None and (text_of(appending.node) or "").lower() in ("false", "no", "off"):
        return settings
    for key in _ADDRESSES:
        entry = settings.get(key)
        written = text_of(entry.node) if entry else None
        if entry is None or written is None:
            continue
        found = _BARE_ADDRESS.fullmatch(written)
        if found is not None and (found[1] is None) == (found[3] is None):
            path = _BARE[found[2]]
            whole = f"{found[1] or ''}{found[2]}{path}{found[3] or ''}"
        elif appending is not None:
            path = "/v1"
            whole = f"{written.rstrip('/')}{path}"
        else:
            continue
        settings[key] = Entry(entry.key_span, plain_text(whole, entry.node.span))
        advice = "a variable that replaces it has to end so too" if has_expression(written) else ""
        journal.add(Kind.REPLACED, entry.key_span, f"{quoted(key)} ends in {quoted(path)}", advice)
    return settings


def _network(node: Mapping, known: tuple[str, ...], kept: Entries, journal: Journal) -> None:
    """Move the settings of the connection to the keys that they have here."""
    for key, entry in node.entries.items():
        if key == "tls" and isinstance(entry.node, Mapping):
            _tls(entry.node, known, kept, journal)
        elif key == "timeout" and "timeouts" in known and _timeout(entry, kept):
            journal.add(Kind.MOVED, entry.key_span, "`network.timeout` is `timeouts`")
        else:
            _no_setting(f"network.{key}", entry, journal)


def _tls(node: Mapping, known: tuple[str, ...], kept: Entries, journal: Journal) -> None:
    for key, entry in node.entries.items():
        if key == "verify" and "tls_verify" in known and "tls_verify" not in kept:
            kept["tls_verify"] = entry
            journal.add(Kind.MOVED, entry.key_span, "`network.tls.verify` is `tls_verify`")
        else:
            _no_setting(f"network.tls.{key}", entry, journal)


def _no_setting(name: str, entry: Entry, journal: Journal) -> None:
    """Report a setting of the connection that this server doesn't have, unless nothing is in it."""
    if not journal.is_unset(entry.node):
        sentence = f"{quoted(name)} is not a setting of a provider here"
        journal.add(Kind.NOT_SERVED, entry.key_span, sentence, _NO_SETTING)
    elif not is_nothing(entry.node):
        journal.add(Kind.IGNORED, entry.key_span, f"{quoted(name)} {_UNSET}")


def _timeout(entry: Entry, kept: Entries) -> bool:
    """Put a timeout in whole seconds among the settings; return False for another one."""
    fields = entries(entry.node) or {"connect": entry, "read": entry}
    if not fields.keys() <= {"connect", "read"}:
        return False
    seconds = {key: _seconds(field.node) for key, field in fields.items() if not is_nothing(field.node)}
    if None in seconds.values():
        return False
    names = {"connect": "connect", "read": "silence"}
    kept["timeouts"] = Entry(entry.key_span, _timeouts({names[key]: found for key, found in seconds.items()}, entry))
    return True


def _timeouts(seconds: dict[str, str | None], entry: Entry) -> Mapping:
    span: Span = entry.key_span
    return block({key: plain_text(found, span) for key, found in seconds.items() if found is not None}, span)


def _seconds(node: Node) -> str | None:
    """Return whole seconds as text; None for anything else."""
    written = text_of(node) or ""
    number, _, fraction = written.partition(".")
    return number if number.isdigit() and not fraction.strip("0") else None
