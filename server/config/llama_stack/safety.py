"""Shields, and the one that moderations ask by default."""

from __future__ import annotations

from typing import Final, Protocol

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node, Sequence
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, below, entries, is_nothing, items, meant, text_of
from server.config.safety import SafetySettings, ShieldConfig
from server.config.shield_params import LLAMA_GUARD

_DEFAULT: Final = "default_shield_id"
_IDS: Final = ("shield_id", "provider_shield_id")


class KnownShields(Protocol):
    """The providers of shields after their translation."""

    shields: dict[str, str]
    """The ids of those that are served, as far as the file says them, each with its type."""


def translate_safety(top: Entries, providers: KnownShields, journal: Journal) -> Entries:
    """Return the top level with what this server has of shields, once its providers are translated."""
    apis = top["apis"].node if "apis" in top else None
    is_served = not isinstance(apis, Sequence) or any(text_of(api) == "safety" for api in apis.items)
    kept: Entries = {}
    gone: list[str] = []
    for key in ("shields", "safety"):
        entry = top.get(key)
        if entry is None or (key == "safety" and is_nothing(entry.node)):
            continue
        if not is_served and not is_nothing(entry.node) and key == "safety":
            journal.add(Kind.IGNORED, entry.key_span, "`safety` has no effect while `apis` leaves `safety` out")
        elif key == "shields" and isinstance(entry.node, Sequence):
            judges = _models(top)
            found = [_shield(item, providers, journal, gone, judges) for item in entry.node.items]
            listed = tuple(each for each in found if each is not None)
            kept[key] = Entry(entry.key_span, Sequence(listed, entry.node.span))
        elif key == "safety" and isinstance(entry.node, Mapping):
            settings = _settings(entry.node, gone, journal)
            if settings.entries:
                kept[key] = Entry(entry.key_span, settings)
        else:
            kept[key] = entry
    return {key: kept.get(key, entry) for key, entry in top.items() if key not in ("shields", "safety") or key in kept}


def _models(top: Entries) -> set[str]:
    """Return the names of the models that are listed."""
    names = set[str]()
    for item in items(top["models"].node) if "models" in top else ():
        provider, *own = (text_of(below(item, key)) for key in ("provider_id", "model_id", "provider_model_id"))
        known = [name for name in own if name is not None]
        names |= {*known, *(f"{provider}/{name}" for name in known)}
    return names


def _shield(node: Node, providers: KnownShields, journal: Journal, gone: list[str], judges: set[str]) -> Node | None:
    """Return a shield; None for one whose provider or model isn't served, which is reported; its id goes to `gone`."""
    if not isinstance(node, Mapping) or journal.is_off(node):
        return node
    fields = entries(node)
    name = next((text for key in _IDS if key in fields and (text := text_of(fields[key].node))), None)
    which = "a shield" if name is None else f"the shield {quoted(name)}"
    written = text_of(fields["provider_id"].node) if "provider_id" in fields else None
    provider = None if written is None else meant(written)
    if provider is not None and provider not in providers.shields:
        sentence = f"{which} is of a provider that is not served"
        journal.follow(Kind.NOT_SERVED, fields["provider_id"].key_span, sentence, "see the line of that provider")
        gone += [] if name is None else [name]
        return None
    only = [*providers.shields.values()] if provider is None else [providers.shields[provider]]
    judge = next((text for key in _IDS[::-1] if key in fields and (text := text_of(fields[key].node))), None)
    if only == [LLAMA_GUARD] and judge is not None and judge not in judges:
        sentence = f"{which} needs the model {quoted(judge)}, which is not listed"
        journal.add(Kind.NOT_SERVED, node.span, sentence, "list it under `models`, since shields find no other")
        gone += [] if name is None else [name]
        return None
    known = ShieldConfig.keys()
    for key in [key for key in fields if key not in known]:
        journal.add(Kind.IGNORED, fields.pop(key).key_span, f"{quoted(key)} has no counterpart here")
    journal.add(Kind.KEPT, node.span, which)
    return Mapping(fields, node.span)


def _settings(node: Mapping, gone: list[str], journal: Journal) -> Mapping:
    kept: Entries = {}
    for key, entry in node.entries.items():
        if key not in SafetySettings.keys():  # noqa: SIM118 - a method of the model, which is no mapping
            journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} has no counterpart here")
        elif key == _DEFAULT and text_of(entry.node) in gone:
            sentence = f"{quoted(key)} is left out, since that shield is not served"
            journal.add(Kind.REPLACED, entry.key_span, sentence, "each request for moderations has to name one")
        elif not is_nothing(entry.node):
            kept[key] = entry
            journal.add(Kind.KEPT, entry.key_span, quoted(key))
    return Mapping(kept, node.span)
