"""The models that are served, by every name that they answer to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policy.models import model_names
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
        names = model_names(self.provider_id, self.model_id, self.provider_model_id)
        object.__setattr__(self, "resource", Resource("model", names, None, Origin.CONFIG))

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.resource.names[0]


class Catalogue:
    """Finds models by name for those who ask, and hands out who runs them to those with a permit.

    A bare `model_id` that two providers share finds neither of them: nothing is guessed.
    """

    def __init__(self, models: Iterable[Model], providers: Mapping[str, Provider]) -> None:
        self.models = tuple(models)
        self._providers = providers
        uses = Counter(name for model in self.models for name in model.resource.names)
        self._by_name = {name: model for model in self.models for name in model.resource.names if uses[name] == 1}

    def find(self, name: str) -> Model | None:
        """The model of that name, which may be any of its names; nothing else is looked up."""
        return self._by_name.get(name)

    def model(self, permit: Permit) -> Model:
        """The model that a permit to read is for."""
        if permit.action is not Action.READ or permit.resource.type != "model":
            raise ValueError("a permit to read a model is needed")
        return self._by_name[permit.resource.names[0]]

    def provider(self, permit: Permit) -> Provider:
        """Who runs the model that a permit to read is for."""
        return self._providers[self.model(permit).provider_id]
