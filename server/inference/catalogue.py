"""The models that are served, by every name that they answer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policy.vocabulary import Action, Origin, Resource
from server.authz.permit import Permit
from server.inference.provider import Provider


@dataclass(frozen=True, slots=True)
class Model:
    """A model from the configuration; `kind` is `llm` or `embedding`.

    Its canonical name is `provider_id/provider_model_id`. It also answers to `provider_id/model_id` and `model_id`.
    """

    model_id: str
    provider_id: str
    provider_model_id: str
    kind: str
    metadata: Mapping[str, Any]
    resource: Resource = field(init=False)

    def __post_init__(self) -> None:
        names = (f"{self.provider_id}/{self.provider_model_id}", f"{self.provider_id}/{self.model_id}", self.model_id)
        resource = Resource("model", tuple(dict.fromkeys(names)), None, Origin.CONFIG)
        object.__setattr__(self, "resource", resource)

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.resource.names[0]


class Catalogue:
    """Finds models by name for those who ask, and hands them out to those with a permit."""

    def __init__(self, models: Iterable[Model], providers: Mapping[str, Provider]) -> None:
        self.models = tuple(models)
        self._providers = providers
        self._canonical = {model.name: model for model in self.models}
        self._by_name = _unambiguous(self.models) | self._canonical

    def find(self, name: str) -> Model | None:
        """The model of that name. A second name that two models share is nobody's; nothing else is looked up."""
        return self._by_name.get(name)

    def model(self, permit: Permit) -> Model:
        """The model that a permit to read is for."""
        if permit.action is not Action.READ or permit.resource.type != "model":
            raise ValueError("a permit to read a model is needed")
        return self._canonical[permit.resource.names[0]]

    def provider(self, permit: Permit) -> Provider:
        """Who runs the model that a permit to read is for."""
        return self._providers[self.model(permit).provider_id]


def _unambiguous(models: Iterable[Model]) -> dict[str, Model]:
    found: dict[str, Model | None] = {}
    for model in models:
        for name in model.resource.names:
            found[name] = model if found.get(name, model) is model else None
    return {name: model for name, model in found.items() if model is not None}
