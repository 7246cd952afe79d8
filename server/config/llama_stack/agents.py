"""Providers of agents, which are the server itself here: what stays is where they keep responses."""

from __future__ import annotations

from typing import Final

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from policy.source.environment import has_expression
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, below, entries, is_nothing, items, plain_text, text_of
from server.config.llama_stack.storage import Storage

BUILT_IN: Final = "inline::builtin"
_KINDS: Final = (BUILT_IN, "inline::meta-reference")
_PLACES: Final = {"agent_state": ("backend", "namespace"), "responses": ("backend", "table_name")}
IGNORED: Final = {
    "persistence_store": "is left out: nothing of an agent is kept besides its responses",
    "responses_store": "is left out: responses are in a file of the user's directory unless `persistence` says more",
    "max_write_queue_size": "is not needed: a response is written before its end is told",
    "num_writers": "is not needed: a response is written before its end is told",
}
"""Keys that are left out without a change for callers, and why."""


class Agents:
    """Translates the providers of agents, or of responses, as newer versions call them."""

    def __init__(self, storage: Storage, journal: Journal) -> None:
        self._storage = storage
        self._journal = journal

    def translated(self, entry: Entry) -> Entry | None:
        """Return the list with the one provider that is served; None if there is none. Others are reported."""
        found = [entry.node] if isinstance(entry.node, Mapping) else list(items(entry.node))
        kept: list[Node] = []
        for node in (one for one in found if not self._journal.is_off(one)):
            kind = text_of(below(node, "provider_type")) or ""
            if kind not in _KINDS:
                advice = f"agents are run by the server itself: {quoted(BUILT_IN)}"
                self._journal.lacks(node.span, f"the provider of agents {quoted(kind)}", advice)
            elif has_expression(text_of(below(node, "provider_id")) or ""):
                sentence = f"a provider of agents ({quoted(kind)}) that a variable switches on"
                self._journal.lacks(node.span, sentence, "write it without the variable, or leave it out")
            elif kept:
                self._journal.lacks(node.span, "a second provider of agents", "one place holds all responses")
            else:
                kept.append(self._provider(node, kind))
        return Entry(entry.key_span, Sequence(tuple(kept), entry.node.span)) if kept else None

    def _provider(self, node: Node, kind: str) -> Node:
        fields, span = entries(node), node.span
        self._journal.add(Kind.KEPT, span, f"the provider of agents ({quoted(kind)})")
        config = self._config(entries(below(node, "config")))
        named = {"provider_id": fields["provider_id"]} if "provider_id" in fields else {}
        typed = {"provider_type": Entry(span, plain_text(BUILT_IN, span))}
        return Mapping({**named, **typed, **({"config": Entry(span, Mapping(config, span))} if config else {})}, span)

    def _config(self, settings: Entries) -> Entries:
        persistence: Entries = {}
        for key, entry in settings.items():
            if key == "persistence":
                persistence = self._persistence(entries(entry.node))
                span = entry.key_span
            elif not is_nothing(entry.node):
                self._leave_out(key, entry)
        return {"persistence": Entry(span, Mapping(persistence, span))} if persistence else {}

    def _persistence(self, places: Entries) -> Entries:
        kept: Entries = {}
        for name, entry in places.items():
            if name not in _PLACES:
                self._leave_out(name, entry)
                continue
            fields: Entries = {}
            for key, field in entries(entry.node).items():
                if key in _PLACES[name]:
                    fields[key] = field
                else:
                    self._leave_out(key, field)
            if self._storage.has_backend(fields.get("backend")):
                kept[name] = Entry(entry.key_span, Mapping(fields, entry.node.span))
        return kept

    def _leave_out(self, key: str, entry: Entry) -> None:
        if key in IGNORED:
            self._journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} {IGNORED[key]}")
        else:
            sentence = f"{quoted(key)} is not a setting of agents here"
            self._journal.add(Kind.NOT_SERVED, entry.key_span, sentence, "it is left out")
