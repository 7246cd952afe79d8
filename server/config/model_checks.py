"""Checks of what models name: aliases are free, and others are of the file, of the same type, not in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from policy.model_names import model_names
from policy.source.diagnostics import Findings, Span, hint_of, quoted
from server.config.raw_value import RawValue
from server.config.tree import Path, TreeReader

_DIMENSION: Final = "embedding_dimension"


@dataclass(frozen=True, slots=True)
class _Reference:
    """A model that another one names, as the file writes it there."""

    text: str
    shown: str
    span: Span
    is_weight: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """A model of the file, with its aliases and the models that it names; `own` are its names without the aliases."""

    line: int
    own: tuple[str, ...]
    aliases: tuple[_Reference, ...]
    kind: str
    dimension: str | None
    references: tuple[_Reference, ...]
    leads_to: list[tuple[int, Span]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {*self.own, *(alias.text for alias in self.aliases)}


def check_choices(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes in `aliases`, `fallback` and `weights` to the findings, and models that may not be asked for."""
    _check_allowed(reading, findings)
    models = [*_models(reading)]
    _check_aliases(models, findings)
    _check_borrowed(reading, findings)
    by_name: dict[str, list[int]] = {}
    for number, model in enumerate(models):
        for name in model.names:
            by_name.setdefault(name, []).append(number)
    for model in models:
        _resolve(model, models, by_name, findings)
    _report_circles(models, findings)


def _check_allowed(reading: TreeReader, findings: Findings) -> None:
    """Report each model that its provider's `allowed_models` leave out."""
    allowed: dict[str, set[str]] = {}
    for _, provider in reading.entries(("providers", "inference")):
        name, config = provider.get("provider_id"), provider.get("config")
        listed = config.get("allowed_models") if isinstance(config, dict) else None
        if isinstance(name, RawValue) and isinstance(listed, tuple):
            allowed[name.text] = {each.text for each in listed if isinstance(each, RawValue)}
    for path, entry in reading.entries(("models",)):
        provider_id, model_id, own = (entry.get(key) for key in ("provider_id", "model_id", "provider_model_id"))
        key, name = ("provider_model_id", own) if isinstance(own, RawValue) else ("model_id", model_id)
        if not isinstance(provider_id, RawValue) or not isinstance(name, RawValue):
            continue
        if name.text not in allowed.get(provider_id.text, {name.text}):
            message = f"the provider {provider_id.described()} may not be asked for {name.described()}"
            findings.error("model-not-allowed", reading.span((*path, key)), message, "add it to `allowed_models`")


def _models(reading: TreeReader) -> Iterator[_Named]:
    for path, entry in reading.entries(("models",)):
        provider_id, model_id, own = (entry.get(key) for key in ("provider_id", "model_id", "provider_model_id"))
        kind, metadata = entry.get("model_type"), entry.get("metadata")
        dimension = metadata.get(_DIMENSION) if isinstance(metadata, dict) else None
        if isinstance(provider_id, RawValue) and isinstance(model_id, RawValue):
            yield _Named(
                reading.span((*path, "model_id")).line,
                model_names(provider_id.text, model_id.text, own.text if isinstance(own, RawValue) else None),
                tuple(_listed(path, "aliases", entry, reading)),
                kind.text if isinstance(kind, RawValue) else "llm",
                dimension.text if isinstance(dimension, RawValue) else None,
                tuple(_references(path, entry, reading)),
            )


def _references(path: Path, entry: Mapping[str, object], reading: TreeReader) -> Iterator[_Reference]:
    yield from _listed(path, "fallback", entry, reading)
    weights = entry.get("weights")
    for name in weights if isinstance(weights, dict) else ():
        place = reading.places[*path, "weights", name]
        yield _Reference(name, quoted(name), place.key_span or place.node.span, is_weight=True)


def _listed(path: Path, key: str, entry: Mapping[str, object], reading: TreeReader) -> Iterator[_Reference]:
    given = entry.get(key)
    for index, name in enumerate(given if isinstance(given, tuple) else ()):
        if isinstance(name, RawValue):
            yield _Reference(name.text, name.described(), reading.span((*path, key, index)), is_weight=False)


def _check_aliases(models: list[_Named], findings: Findings) -> None:
    """Report each alias that is a name of a model already."""
    taken = {name: model.line for model in models for name in model.own}
    for model in models:
        for alias in model.aliases:
            if alias.text in taken:
                message = f"{alias.shown} is a name of the model in line {taken[alias.text]} already"
                findings.error("ambiguous-model", alias.span, message, "choose another one, or leave it out")
            taken.setdefault(alias.text, model.line)


def _check_borrowed(reading: TreeReader, findings: Findings) -> None:
    """Report names that begin as those of another provider's models do: rules about these would be about this one."""
    listed = [provider.get("provider_id") for _, provider in reading.entries(("providers", "inference"))]
    ids = {given.text for given in listed if isinstance(given, RawValue)}
    for path, entry in reading.entries(("models",)):
        provider_id, model_id = entry.get("provider_id"), entry.get("model_id")
        if not isinstance(provider_id, RawValue):
            continue
        others = ids - {provider_id.text}
        for alias in _listed(path, "aliases", entry, reading):
            if _prefix(alias.text) in others:
                message = f"{alias.shown} begins with the id of another provider, as its models do"
                findings.error(
                    "borrowed-name", alias.span, message, "choose one that begins otherwise, or leave it out"
                )
        if isinstance(model_id, RawValue) and _prefix(model_id.text) in others:
            message = f"{model_id.described()} begins with the id of another provider, so rules about its models match"
            hint = "move it to `provider_model_id`, and choose a `model_id` that begins otherwise"
            findings.warning("borrowed-name", reading.span((*path, "model_id")), message, hint)


def _prefix(name: str) -> str | None:
    """Return what is in front of a name's first slash; None where it has none."""
    prefix, slash, _ = name.partition("/")
    return prefix if slash else None


def _resolve(model: _Named, models: list[_Named], by_name: Mapping[str, list[int]], findings: Findings) -> None:
    """Note where the references of a model lead, and report those that lead nowhere."""
    seen: set[tuple[int, bool]] = set()
    for reference in model.references:
        found = by_name.get(reference.text, [])
        if len(found) != 1:
            offered = [] if found else [*_offered(model, models, by_name)]
            _report_unknown(reference, offered, findings, is_shared=bool(found))
            continue
        other = models[found[0]]
        if (found[0], reference.is_weight) in seen:
            findings.error("named-twice", reference.span, f"{reference.shown} is named twice", "keep one of them")
        elif other is not model:
            _report_other_kind(model, other, reference, findings)
            model.leads_to.append((found[0], reference.span))
        elif not reference.is_weight:
            message = f"{reference.shown} is the model itself"
            findings.error("model-circle", reference.span, message, "name another model")
        seen.add((found[0], reference.is_weight))


def _offered(model: _Named, models: list[_Named], by_name: Mapping[str, list[int]]) -> Iterator[str]:
    """Yield the names that this model may name."""
    for name, numbers in by_name.items():
        if len(numbers) == 1 and models[numbers[0]] is not model and models[numbers[0]].kind == model.kind:
            yield name


def _report_unknown(reference: _Reference, offered: list[str], findings: Findings, *, is_shared: bool) -> None:
    if is_shared:
        message = f"more than one model is called {reference.shown}"
        findings.error("ambiguous-model", reference.span, message, "name its provider too")
        return
    shown = "" if reference.shown != quoted(reference.text) else reference.text
    hint = hint_of(shown, offered) if offered else ""
    message = f"no model of the configuration is called {reference.shown}"
    findings.error("unknown-model", reference.span, message, hint or "add it under `models`")


def _report_other_kind(model: _Named, other: _Named, reference: _Reference, findings: Findings) -> None:
    if model.kind != other.kind:
        message = f"{reference.shown} is of another `model_type` than the model that names it"
        findings.error("unlike-models", reference.span, message, "name a model that does the same")
    elif None not in (model.dimension, other.dimension) and model.dimension != other.dimension:
        message = f"{reference.shown} has another `{_DIMENSION}` than the model that names it"
        findings.error("unlike-models", reference.span, message, "name a model whose embeddings are alike")


def _report_circles(models: list[_Named], findings: Findings) -> None:
    """Report each reference that closes a circle."""
    open_, done = set[int](), set[int]()
    for start in range(len(models)):
        if start in done:
            continue
        way = [(start, iter(models[start].leads_to))]
        open_.add(start)
        while way:
            number, references = way[-1]
            step = next(references, None)
            if step is None:
                way.pop()
                open_.discard(number)
                done.add(number)
            elif step[0] in open_:
                message = f"the model {quoted(models[step[0]].own[0])} leads back to itself here"
                findings.error("model-circle", step[1], message, "name a model that doesn't")
            elif step[0] not in done:
                open_.add(step[0])
                way.append((step[0], iter(models[step[0]].leads_to)))
