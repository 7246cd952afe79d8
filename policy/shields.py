"""Shields that rules require: the ids that a configuration has, and the rules beside which they may stand."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Environ
from dataclasses import dataclass
from typing import Final

from policy.expressions import literal_starts
from policy.rules import ExactName, ExactPath, OfType, PathPattern, Regex, ResourcePattern
from policy.served_routes import SERVED
from policy.source.diagnostics import Findings, did_you_mean, quoted
from policy.source.document import Mapping, Node, Scalar, Sequence
from policy.source.environment import DISABLED, Missing, substitute
from policy.vocabulary import Action

MOST_REQUIRED: Final = 8
"""Shields that one rule requires."""

_IDS: Final = ("shield_id", "provider_shield_id")
_RUNS_MODELS: Final = frozenset(
    served.path for served in SERVED if served.method == "POST" and served.needs == ((Action.READ, "model"),)
)
"""The paths whose every request goes to a model."""


@dataclass(frozen=True, slots=True)
class KnownShields:
    """The ids of shields of a configuration: those that there are, and those that a variable switches off."""

    served: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()


def read_shields(document: Mapping, environ: Environ[str, str]) -> KnownShields:
    """Return the shields of a whole configuration; one whose id is wrong is reported with the configuration."""
    listed = document.entries.get("shields")
    served, disabled = set[str](), set[str]()
    for item in listed.node.items if listed is not None and isinstance(listed.node, Sequence) else ():
        if not isinstance(item, Mapping):
            continue
        values = {key: _value(item.entries[key].node, environ) for key in item.entries}
        identity = next((value for key in _IDS if isinstance(value := values.get(key), str)), None)
        if identity is None:
            continue
        is_off = DISABLED in values.values() or ("provider_id" in values and values["provider_id"] is None)
        (disabled if is_off else served).add(identity)
    return KnownShields(frozenset(served), frozenset(disabled - served))


def check_required(required: tuple[Scalar, ...], known: KnownShields, findings: Findings) -> tuple[str, ...]:
    """Return the ids that a rule requires, each once; report those that there are not."""
    for scalar in required:
        if scalar.text in known.disabled:
            message = f"the shield {quoted(scalar.text)} is switched off, and this rule requires it"
            findings.error("unknown-shield", scalar.span, message, "switch it on, or leave it out here")
        elif scalar.text not in known.served:
            message = f"no shield of the configuration is called {quoted(scalar.text)}"
            hint = did_you_mean(scalar.text, sorted(known.served)) if known.served else "add it under `shields`"
            findings.error("unknown-shield", scalar.span, message, hint)
    if len(required) > MOST_REQUIRED:
        message = f"a rule requires at most {MOST_REQUIRED} shields"
        findings.error("too-many-shields", required[0].span, message, "leave some of them out")
    return tuple(dict.fromkeys(scalar.text for scalar in required))


def check_resource(
    required: tuple[Scalar, ...], actions: Collection[Action], resource: ResourcePattern, findings: Findings
) -> None:
    """Report shields beside a permit of anything but to read models, since nothing would discharge them."""
    if not required:
        return
    if tuple(actions) != (Action.READ,) or not _is_about_models(resource):
        message = "`shields` stand beside a permit to `read` a `model`, and this one permits something else"
        findings.error("misplaced-shields", required[0].span, message, "write a rule of its own for `model::…`")


def check_paths(required: tuple[Scalar, ...], paths: Collection[PathPattern], findings: Findings) -> None:
    """Report shields beside a permit of a path that runs no model, or that may be one of several."""
    if required and not all(isinstance(path, ExactPath) and path.path in _RUNS_MODELS for path in paths):
        message = "`shields` stand beside paths that run a model, each written out"
        hint = f"write {', '.join(map(quoted, sorted(_RUNS_MODELS)))}, or some of them"
        findings.error("misplaced-shields", required[0].span, message, hint)


def _is_about_models(resource: ResourcePattern) -> bool:
    match resource:
        case ExactName(type=kind) | OfType(type=kind):
            return kind == "model"
        case Regex(valid=True):
            starts = literal_starts(resource)
            return bool(starts) and all(start.startswith("model::") for start in starts)
    return False


def _value(node: Node, environ: Environ[str, str]) -> str | None:
    """Return the text of a value; None where it has none, and the text as it stands where that can't be said."""
    if not isinstance(node, Scalar) or node.value is None:
        return None
    try:
        found = substitute(node.text, environ)
    except ValueError:
        return node.text
    return node.text if isinstance(found, Missing) else found
