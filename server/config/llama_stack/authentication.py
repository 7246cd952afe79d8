"""`server.auth`: the provider of identities, in its old and its new form, and the policies.

What Llama Stack checks by default, and this server doesn't, is written out; what this server doesn't check at all is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as TextMapping
from typing import Final

from policy.authentication import OLD_KEYS
from policy.source.diagnostics import Span, quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from policy.source.environment import has_expression
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import (
    Entries,
    block,
    entries,
    is_nothing,
    is_null,
    may_be_nothing,
    meant,
    plain_text,
    quoted_text,
    text_of,
)
from server.config.llama_stack.rules import check_access_policy, check_route_policy

_TOKENS: Final = "oauth2_token"
_TYPES: Final = (_TOKENS, "kubernetes", "github_token", "custom")
_CLAIMS: Final[TextMapping[str, str]] = {
    "sub": "roles",
    "username": "roles",
    "groups": "teams",
    "team": "teams",
    "project": "projects",
    "tenant": "namespaces",
    "namespace": "namespaces",
}
"""Claim → attribute, as Llama Stack maps the claims of tokens by default."""

_SOONER: Final = "a higher `recheck_period` is faster, and believes a revoked token for so long"
_API_SERVER: Final = "https://kubernetes.default.svc"
_PROVIDER: Final = "provider_config"
_WRITTEN_TYPE: Final = re.compile(r"[a-z0-9_]+")


def translate_auth(entry: Entry, product: str, journal: Journal) -> Entry:
    """Return `server.auth` with its provider in the form of this server; reports what can't be carried over."""
    if not isinstance(entry.node, Mapping):
        return entry
    auth = _without_old_keys(entries(entry.node), journal)
    if _PROVIDER in auth and not is_null(auth[_PROVIDER].node):
        auth[_PROVIDER] = _provider(auth[_PROVIDER], product, journal)
    _policy(auth, "access_policy", check_access_policy, "the default policy of this server holds", journal)
    _policy(auth, "route_policy", check_route_policy, "every route is open to who may use the server", journal)
    return Entry(entry.key_span, Mapping(auth, entry.node.span))


def _without_old_keys(auth: Entries, journal: Journal) -> Entries:
    """Return `auth` with `provider_type` and `config` of older versions as `provider_config`."""
    old = [key for key in OLD_KEYS if key in auth]
    if not old:
        return auth
    span = auth[old[0]].key_span
    if _PROVIDER in auth:
        journal.refuse(span, "`auth` has both forms of a provider", "leave `provider_type` and `config` out")
        return auth
    kind, settings = auth.pop("provider_type", None), auth.pop("config", None)
    if kind is None:
        journal.refuse(span, "`auth` has no `provider_type`", "write it beside `config`")
        return auth
    inner = entries(settings.node) if settings is not None else {}
    if "type" in inner or (
        settings is not None and not isinstance(settings.node, Mapping) and not is_nothing(settings.node)
    ):
        journal.refuse(span, "`config` takes the settings of the provider, without a `type`")
        return auth
    journal.add(Kind.MOVED, span, "`provider_type` and `config` are `provider_config`, with the `type` in it")
    return {_PROVIDER: Entry(span, Mapping({"type": kind, **inner}, span)), **auth}


def _provider(entry: Entry, product: str, journal: Journal) -> Entry:
    if not isinstance(entry.node, Mapping):
        return entry
    fields = {key: field for key, field in entries(entry.node).items() if key == "type" or not is_null(field.node)}
    written = text_of(fields["type"].node) if "type" in fields else None
    if written is None:
        return entry
    kind, span = meant(written), fields["type"].key_span
    if kind is None or (has_expression(written) and not _WRITTEN_TYPE.fullmatch(kind)) or ":=" in written:
        sentence = "the `type` of the provider comes from a variable, so its defaults can't be written out"
        journal.refuse(span, sentence, "write the type, or `${env.NAME:+type}`")
    elif kind not in _TYPES:
        sentence = f"callers of the provider {quoted(kind)} can't be known here"
        journal.refuse(span, sentence, f"use {', '.join(map(quoted, _TYPES[:-1]))} or {quoted(_TYPES[-1])}")
    else:
        if "audience" in fields and may_be_nothing(fields["audience"].node):
            sentence = "`audience` may be empty, and then tokens for any service would be accepted"
            journal.refuse(fields["audience"].key_span, sentence, "write a default: `${env.NAME:=audience}`")
        _write_defaults(fields, kind, product, span, journal)
        journal.add(Kind.KEPT, span, f"`provider_config` ({quoted(kind)})")
    return Entry(entry.key_span, Mapping(fields, entry.node.span))


def _write_defaults(fields: Entries, kind: str, product: str, span: Span, journal: Journal) -> None:
    """Write out the defaults of Llama Stack that differ from those of this server."""
    defaults: dict[str, Node] = {}
    if kind == _TOKENS:
        defaults["audience"] = quoted_text(product, span)
        claims: dict[str, Node] = {claim: plain_text(name, span) for claim, name in _CLAIMS.items()}
        defaults["claims_mapping"] = block(claims, span)
        defaults["split_claims"] = plain_text("true", span)
        defaults["leeway"] = plain_text("0", span)
        _ask_each_time(fields, span, journal)
    else:
        defaults["recheck_period"] = plain_text("0", span)
    if kind == "kubernetes":
        defaults["api_server_url"] = quoted_text(_API_SERVER, span)
    added = [key for key in defaults if key not in fields]
    fields |= {key: Entry(span, defaults[key]) for key in added}
    if added:
        names = ", ".join(map(quoted, added))
        journal.add(Kind.REPLACED, span, f"the default of Llama Stack is written out: {names}")


def _ask_each_time(fields: Entries, span: Span, journal: Journal) -> None:
    """Have the endpoint for introspection asked for every request."""
    asked = entries(fields["introspection"].node) if "introspection" in fields else {}
    if asked and "recheck_period" not in asked:
        asked["recheck_period"] = Entry(span, plain_text("0", span))
        fields["introspection"] = Entry(fields["introspection"].key_span, Mapping(asked, span))
        journal.add(Kind.REPLACED, span, "the endpoint for introspection is asked for every request", _SOONER)


def _policy(auth: Entries, key: str, check: Callable[[Entry, Journal], None], instead: str, journal: Journal) -> None:
    """Check a policy; leave an empty one out, which Llama Stack takes for none."""
    entry = auth.get(key)
    if entry is None:
        return
    if isinstance(entry.node, Sequence) and not entry.node.items:
        del auth[key]
        journal.add(Kind.REPLACED, entry.key_span, f"{quoted(key)} has no rules, so {instead}")
        return
    check(entry, journal)
