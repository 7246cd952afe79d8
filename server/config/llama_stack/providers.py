"""`apis` and `providers`: those that are served stay, those of files become a part of `storage`."""

from __future__ import annotations

from policy.source.diagnostics import misspelling_of, quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from policy.source.environment import has_expression
from server.config.api_names import APIS, PROVIDED_APIS, SERVED_APIS, is_missing
from server.config.llama_stack.agents import Agents
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.files import Files
from server.config.llama_stack.nodes import (
    Entries,
    below,
    entries,
    is_null,
    meant,
    plain_text,
    quoted_text,
    text_of,
)
from server.config.llama_stack.provider_settings import translate_settings
from server.config.llama_stack.storage import Storage
from server.config.provider_types import provider_types

_GATEWAY = "reach it through a gateway that speaks OpenAI's API, as a `remote::passthrough`"
_INSIDE = "serve the model with Ollama or vLLM, as a `remote::ollama` or a `remote::vllm`"
_EMBEDDINGS = "use the embeddings of an `inline::wordllama`, or serve the model with vLLM, as a `remote::vllm`"
_MOST_COMPARED = 100
"""Unknown names of APIs that are compared with the known ones."""

_AGENTS = ("agents", "responses")
"""The names that the API of agents has had."""

_UNKNOWN = "an extension of Llama Stack brings it; it is left out"
_ADVICE = {"inline::sentence-transformers": _EMBEDDINGS}
_INSTEAD = {
    "batches": "batches are run by the server itself: `inline::reference`",
    "safety": "shields are those of an `inline::llama-guard`, an `inline::keyword` and a `remote::bedrock`",
    "tool_runtime": "call its tools in the client, or through a server that speaks MCP",
    "vector_io": "vectors are kept by an `inline::lancedb`, which needs no entry",
}


class Providers:
    """Translates the providers of a configuration.

    `kept` and `dropped` hold the ids of the providers of inference that are served and that are not, the latter with
    their types, `indexes` the ids of those of `vector_io` that are served, and `shields` those of `safety` with their
    types; an id that the environment alone says is in none of them.
    """

    def __init__(self, top: Entries, storage: Storage, journal: Journal) -> None:
        self.kept: list[str] = []
        self.dropped: dict[str, str] = {}
        self.indexes: list[str] = []
        self.shields: dict[str, str] = {}
        self.tools: list[str] = []
        self._top = top
        self._storage = storage
        self._journal = journal
        self._unknown = 0

    def translated(self) -> Entries:
        """Return the top level with its `apis`, `providers` and `storage` translated."""
        written = entries(self._top["providers"].node) if "providers" in self._top else {}
        result: Entries = {}
        for key, entry in self._top.items():
            if key == "apis":
                node = self._apis(entry.node, written)
            elif key == "providers" and isinstance(entry.node, Mapping):
                node = Mapping(self._providers(written), entry.node.span)
            else:
                node = entry.node
            if node is not None:
                result[key] = Entry(entry.key_span, node)
        return self._storage.put_into(result)

    def _apis(self, node: Node, written: Entries) -> Node | None:
        """Return the list of APIs; None for an empty one, which means all of them to Llama Stack."""
        if not isinstance(node, Sequence):
            return node
        if not node.items:
            self._journal.add(Kind.REPLACED, node.span, "`apis` is left out, since an empty list means all of them")
            return None
        kept: list[Node] = []
        for item in node.items:
            name = text_of(item) or ""
            if name in _AGENTS:
                if not any(text_of(each) == "agents" for each in kept):
                    kept.append(plain_text("agents", item.span))
                continue
            if self._is_foreign(name):
                self._journal.lacks(item.span, f"the API {quoted(name)}", _UNKNOWN)
            elif not is_missing(name):
                kept.append(item)
            elif name in written and not self._journal.is_empty(written[name].node):
                continue  # its providers are reported
            else:
                self._journal.missing(name, item.span, quoted(name))
        return Sequence(tuple(kept), node.span)

    def _is_foreign(self, api: str) -> bool:
        """Return whether the name is that of an API that is unknown here, rather than a misspelling of one."""
        if api in APIS or has_expression(api):
            return False
        self._unknown += 1
        return self._unknown > _MOST_COMPARED or misspelling_of(api, APIS) is None

    def _providers(self, written: Entries) -> Entries:
        kept: Entries = {}
        for api, entry in written.items():
            if api in _AGENTS:
                made = Agents(self._storage, self._journal).translated(entry)
                if made is not None:
                    kept["agents"] = made
            elif api in PROVIDED_APIS:
                kept[api] = Entry(entry.key_span, self._served(api, entry.node))
            elif api == "files":
                Files(self._storage, self._journal).translate(entry)
            elif is_missing(api):
                if not self._journal.is_empty(entry.node):
                    self._journal.missing(api, entry.key_span, quoted(api))
            elif api in SERVED_APIS:
                self._journal.add(Kind.IGNORED, entry.key_span, f"{quoted(api)} is served without providers")
            elif self._is_foreign(api):
                self._journal.lacks(entry.key_span, f"the API {quoted(api)}", _UNKNOWN)
            else:
                kept[api] = entry
        return kept

    def _served(self, api: str, node: Node) -> Node:
        if isinstance(node, Mapping):
            node = self._as_list(node)
        if not isinstance(node, Sequence):
            return node
        found = [self._provider(api, item) for item in node.items]
        return Sequence(tuple(item for item in found if item is not None), node.span)

    def _as_list(self, node: Mapping) -> Sequence:
        """Return the list of providers that a mapping stands for: one provider, or ids with their providers."""
        self._journal.add(Kind.MOVED, node.span, "a mapping of providers becomes a list")
        if "provider_type" in node.entries:
            return Sequence((node,), node.span)
        listed: list[Node] = []
        for name, entry in node.entries.items():
            fields = entries(entry.node)
            named = {"provider_id": Entry(entry.key_span, quoted_text(name, entry.key_span)), **fields}
            listed.append(Mapping(named, entry.node.span) if isinstance(entry.node, Mapping) else entry.node)
        return Sequence(tuple(listed), node.span)

    def _provider(self, api: str, node: Node) -> Node | None:
        """Return a provider; None for one that isn't served, which is reported."""
        if not isinstance(node, Mapping):
            return node
        if self._journal.is_off(node):
            return node  # the parser leaves it out
        fields = entries(node)
        name = text_of(fields["provider_id"].node) if "provider_id" in fields else None
        kind = text_of(fields["provider_type"].node) if "provider_type" in fields else None
        if "provider_id" in fields and is_null(fields["provider_id"].node):
            self._journal.add(Kind.IGNORED, node.span, "a provider without an id is switched off")
            return None
        if kind is None or has_expression(kind):
            return node
        word = meant(name) if name is not None else None
        which = f"the provider {quoted(word)} ({quoted(kind)})" if word else f"a provider ({quoted(kind)})"
        answers = api == "inference"
        if kind not in provider_types(api):
            usual = _INSIDE if kind.startswith("inline::") else _GATEWAY
            advice = _ADVICE.get(kind, usual) if answers else _INSTEAD[api]
            self._journal.lacks(node.span, which, advice)
            if word and answers:
                self.dropped[word] = kind
            return None
        self._keep(api, word, kind)
        self._journal.add(Kind.KEPT, node.span, which)
        if "config" in fields:
            entry = fields["config"]
            settings = translate_settings(entry.node, kind, self._journal, api)
            fields["config"] = Entry(entry.key_span, self._with_a_file(settings) if api == "vector_io" else settings)
        return Mapping(fields, node.span)

    def _keep(self, api: str, word: str | None, kind: str) -> None:
        """Note a provider that is served, where others of the file may name it."""
        if not word:
            return
        if api == "safety":
            self.shields[word] = kind
        elif api == "inference":
            self.kept.append(word)
        elif api == "vector_io":
            self.indexes.append(word)
        elif api == "tool_runtime":
            self.tools.append(word)

    def _with_a_file(self, settings: Node) -> Node:
        """Return the settings of an index without a backend that is no file, which is reported."""
        fields = entries(settings)
        backend = text_of(below(settings, "persistence", "backend"))
        kind = None if backend is None else self._storage.kind_of(backend)
        if kind is None or kind == "kv_sqlite" or has_expression(kind):
            return settings
        entry = fields.pop("persistence")
        sentence = f"{quoted(backend or '')} is of the type {quoted(kind)}, and this index keeps its vectors in a file"
        self._journal.add(Kind.REPLACED, entry.key_span, sentence, "it is in the user's directory")
        return Mapping(fields, settings.span)
