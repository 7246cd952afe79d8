"""The names of a model: one is canonical, the others are accepted in requests and in rules.

Source: `docs/policy/policy-language.md` §4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as TextMapping
from typing import Final

from policy.source.document import Entry, Mapping, Node, Scalar, Sequence
from policy.source.environment import DISABLED, substitute

_FIELDS: Final = ("provider_id", "model_id", "provider_model_id")


def model_names(
    provider_id: str, model_id: str, provider_model_id: str | None, aliases: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return every name, the canonical `provider_id/provider_model_id` first."""
    canonical = f"{provider_id}/{provider_model_id or model_id}"
    return tuple(dict.fromkeys((canonical, f"{provider_id}/{model_id}", model_id, *aliases)))


def model_aliases(document: Mapping, environ: TextMapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return, for every name of a model under `models:`, all names of that model.

    Malformed entries are left out; the configuration reports them. Models under `registered_resources`, where Llama
    Stack has them, count too.
    """
    models = [model for place in _lists(document) for model in place.items]
    named: list[tuple[str, ...]] = []
    for model in models:
        fields = model.entries if isinstance(model, Mapping) else {}
        texts = {name: _text(fields[name].node, environ) for name in _FIELDS if name in fields}
        provider_id, model_id = texts.get("provider_id"), texts.get("model_id")
        if provider_id and model_id and DISABLED not in texts.values():
            further = [text for text in _further(fields, environ) if text and text != DISABLED]
            named.append(model_names(provider_id, model_id, texts.get("provider_model_id"), further))
    uses = Counter(name for names in named for name in names)
    return {name: names for names in named for name in names if uses[name] == 1}


def _further(fields: TextMapping[str, Entry], environ: TextMapping[str, str]) -> Iterator[str | None]:
    aliases = fields.get("aliases")
    if aliases is not None and isinstance(aliases.node, Sequence):
        yield from (_text(item, environ) for item in aliases.node.items)


def _lists(document: Mapping) -> list[Sequence]:
    """Return the lists of models, wherever they stand."""
    resources = document.entries.get("registered_resources")
    places = [document] if resources is None else [document, resources.node]
    found = [place.entries.get("models") for place in places if isinstance(place, Mapping)]
    return [entry.node for entry in found if entry is not None and isinstance(entry.node, Sequence)]


def _text(node: Node, environ: TextMapping[str, str]) -> str | None:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return None
    try:
        value = substitute(node.text, environ)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
