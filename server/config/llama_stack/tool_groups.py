"""Tool groups: those whose providers are served here."""

from __future__ import annotations

from typing import Final, Protocol

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, entries, is_nothing, meant, text_of
from server.config.tool_groups import ToolGroupConfig

_SECTION: Final = "tool_groups"
_ADVICE: Final = "call its tools in the client, or through a server that speaks MCP"


class KnownTools(Protocol):
    """The providers of tools after their translation."""

    tools: list[str]
    """The ids of those that are served, as far as the file says them."""


def translate_tool_groups(top: Entries, providers: KnownTools, journal: Journal) -> Entries:
    """Return the top level with the tool groups whose providers are served."""
    entry = top.get(_SECTION)
    if entry is None or is_nothing(entry.node) or not isinstance(entry.node, Sequence):
        return top
    apis = top["apis"].node if "apis" in top else None
    if isinstance(apis, Sequence) and not any(text_of(api) == "tool_runtime" for api in apis.items):
        sentence = f"{quoted(_SECTION)} has no effect while `apis` leaves `tool_runtime` out"
        journal.add(Kind.IGNORED, entry.key_span, sentence)
        return {key: each for key, each in top.items() if key != _SECTION}
    found = [_group(item, providers, journal) for item in entry.node.items]
    kept = tuple(each for each in found if each is not None)
    if not kept:
        return {key: each for key, each in top.items() if key != _SECTION}
    return {**top, _SECTION: Entry(entry.key_span, Sequence(kept, entry.node.span))}


def _group(node: Node, providers: KnownTools, journal: Journal) -> Node | None:
    """Return a group; None for one whose provider isn't served, which is reported."""
    if not isinstance(node, Mapping):
        return node
    fields = entries(node)
    name = text_of(fields["toolgroup_id"].node) if "toolgroup_id" in fields else None
    which = "a tool group" if name is None else f"the tool group {quoted(name)}"
    provider = meant(text_of(fields["provider_id"].node) or "") if "provider_id" in fields else None
    if provider is not None and provider not in providers.tools:
        span = fields["provider_id"].key_span
        journal.follow(Kind.NOT_SERVED, span, f"{which} has a provider that is not served", _ADVICE)
        return None
    known = ToolGroupConfig.keys()
    for key in [key for key in fields if key not in known or is_nothing(fields[key].node)]:
        gone = fields.pop(key)
        if not is_nothing(gone.node):
            journal.add(Kind.IGNORED, gone.key_span, f"{quoted(key)} has no counterpart here")
    journal.add(Kind.KEPT, node.span, which)
    return Mapping(fields, node.span)
