"""Checks of the models that models name: each is one of the file, of the same type, and none leads back to itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from policy.model_names import model_names
from policy.source.diagnostics import Findings, Span, did_you_mean, quoted
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
    """A model of the file, with the models that it names."""

    names: tuple[str, ...]
    kind: str
    dimension: str | None
    references: tuple[_Reference, ...]
    leads_to: list[tuple[int, Span]] = field(default_factory=list)


def check_choices(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes in `fallback` and `weights` to the findings."""
    models = [*_models(reading)]
    by_name: dict[str, list[int]] = {}
    for number, model in enumerate(models):
        for name in model.names:
            by_name.setdefault(name, []).append(number)
    for model in models:
        _resolve(model, models, by_name, findings)
    _report_circles(models, findings)


def _models(reading: TreeReader) -> Iterator[_Named]:
    for path, entry in reading.entries(("models",)):
        provider_id, model_id, own = (entry.get(key) for key in ("provider_id", "model_id", "provider_model_id"))
        kind, metadata = entry.get("model_type"), entry.get("metadata")
        dimension = metadata.get(_DIMENSION) if isinstance(metadata, dict) else None
        if isinstance(provider_id, RawValue) and isinstance(model_id, RawValue):
            yield _Named(
                model_names(provider_id.text, model_id.text, own.text if isinstance(own, RawValue) else None),
                kind.text if isinstance(kind, RawValue) else "llm",
                dimension.text if isinstance(dimension, RawValue) else None,
                tuple(_references(path, entry, reading)),
            )


def _references(path: Path, entry: Mapping[str, object], reading: TreeReader) -> Iterator[_Reference]:
    fallback, weights = entry.get("fallback"), entry.get("weights")
    for index, given in enumerate(fallback if isinstance(fallback, tuple) else ()):
        if isinstance(given, RawValue):
            span = reading.span((*path, "fallback", index))
            yield _Reference(given.text, given.described(), span, is_weight=False)
    for name in weights if isinstance(weights, dict) else ():
        place = reading.places[*path, "weights", name]
        yield _Reference(name, quoted(name), place.key_span or place.node.span, is_weight=True)


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
    hint = did_you_mean(shown, offered) if offered else ""
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
                message = f"the model {quoted(models[step[0]].names[0])} leads back to itself here"
                findings.error("model-circle", step[1], message, "name a model that doesn't")
            elif step[0] not in done:
                open_.add(step[0])
                way.append((step[0], iter(models[step[0]].leads_to)))
