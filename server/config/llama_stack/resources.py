"""The lists of resources: models, and those that an API which isn't served needs."""

from __future__ import annotations

from typing import Final, Protocol

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from policy.source.environment import has_expression
from server.config.api_names import SECTIONS, is_missing
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, entries, is_nothing, items, meant, quoted_text, text_of
from server.config.models import ModelConfig

_EVERY_PROVIDER: Final = "all"
_TYPES: Final = ("llm", "embedding")
IGNORED: Final = {"model_validation": "asks for the model at the start, which is not done here"}
"""Keys that are left out without a change for callers, and why."""


class KnownProviders(Protocol):
    """The providers of inference after their translation."""

    kept: list[str]
    """The ids of those that are served, as far as the file says them."""

    dropped: dict[str, str]
    """The ids of those that are not, each with its type."""


def hoist(top: Entries, journal: Journal) -> Entries:
    """Return the top level with the lists under `registered_resources` in it, where this server has them."""
    entry = top.pop("registered_resources", None)
    if entry is None:
        return top
    inner = entries(entry.node)
    if not isinstance(entry.node, Mapping) and not is_nothing(entry.node):
        journal.refuse(entry.key_span, "`registered_resources` takes a mapping of lists")
        return top
    moved = [key for key, listed in inner.items() if not is_nothing(listed.node)]
    for key in moved:
        if key not in SECTIONS:
            journal.lacks(inner[key].key_span, f"a list of resources called {quoted(key)}", "it is left out")
        elif key in top and not is_nothing(top[key].node):
            line = top[key].key_span.line
            journal.refuse(inner[key].key_span, f"{quoted(key)} is in line {line} already", "write both lists as one")
        else:
            top[key] = inner[key]
    names = ", ".join(quoted(key) for key in moved if key in SECTIONS) or "nothing in it"
    journal.add(Kind.MOVED, entry.key_span, f"the lists under `registered_resources` stand at the top: {names}")
    return top


def translate_resources(top: Entries, providers: KnownProviders, journal: Journal) -> Entries:
    """Return the top level with the models that are served, and without lists that no API uses."""
    kept: Entries = {}
    for key, entry in top.items():
        if key == "models":
            kept[key] = Entry(entry.key_span, _models(entry.node, providers, journal))
        elif key not in SECTIONS or not is_missing(SECTIONS[key]):
            kept[key] = entry
        elif not journal.is_empty(entry.node):
            number = len(items(entry.node))
            what = f"{quoted(key)} ({number} {'entry' if number == 1 else 'entries'})" if number else quoted(key)
            journal.missing(SECTIONS[key], entry.key_span, what)
    return kept


def _models(node: Node, providers: KnownProviders, journal: Journal) -> Node:
    if not isinstance(node, Sequence):
        return node
    found = [_model(item, providers, journal) for item in node.items]
    return Sequence(tuple(item for item in found if item is not None), node.span)


def _model(node: Node, providers: KnownProviders, journal: Journal) -> Node | None:
    """Return a model; None for one that no provider here serves, which is reported."""
    if not isinstance(node, Mapping):
        return node
    fields = entries(node)
    name = text_of(fields["model_id"].node) if "model_id" in fields else None
    which = "a model" if name is None else f"the model {quoted(name)}"
    if _is_left_out(fields, which, providers, journal):
        return None
    if "provider_id" not in fields and len(providers.kept) == 1:
        fields["provider_id"] = Entry(node.span, quoted_text(providers.kept[0], node.span))
        journal.add(Kind.REPLACED, node.span, f"{which} names its provider, {quoted(providers.kept[0])}")
    known = ModelConfig.keys()
    for key in [key for key in fields if key not in known and key in IGNORED]:
        journal.add(Kind.IGNORED, fields.pop(key).key_span, f"{quoted(key)} {IGNORED[key]}")
    if "model_type" in fields and is_nothing(fields["model_type"].node):
        del fields["model_type"]
    journal.add(Kind.KEPT, node.span, which)
    return Mapping(fields, node.span)


def _is_left_out(fields: Entries, which: str, providers: KnownProviders, journal: Journal) -> bool:
    kind = text_of(fields["model_type"].node) if "model_type" in fields else None
    if kind is not None and not has_expression(kind) and kind not in _TYPES:
        span = fields["model_type"].key_span
        advice = "chats, completions and embeddings are served"
        journal.add(Kind.NOT_SERVED, span, f"{which} is of the type {quoted(kind)}", advice)
        return True
    written = text_of(fields["provider_id"].node) if "provider_id" in fields else None
    provider = None if written is None else meant(written)
    if provider is None or provider in providers.kept:
        return False
    span = fields["provider_id"].key_span
    if provider in providers.dropped:
        kind = providers.dropped[provider]
        journal.follow(Kind.NOT_SERVED, span, f"{which} needs {quoted(kind)}", "see the line of that provider")
        return True
    if provider == _EVERY_PROVIDER:
        advice = "list the model once for each provider that has it"
        journal.add(Kind.NOT_SERVED, span, f"{which} is for all providers at once", advice)
        return True
    return False
