"""One model: its names, its provider and its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from policy.model_names import model_names


@dataclass(frozen=True, slots=True)
class Model:
    """A model; `kind` is `llm` or `embedding`.

    Its canonical name is `provider_id/provider_model_id`. It also answers to `provider_id/model_id`, `model_id` and its
    `aliases`.
    `created` is in seconds since 1970; None for a model that the configuration defines. `fallback` and `weights` hold
    canonical names: of models that are asked where this one gives no answer, and of those among which its requests are
    divided.
    """

    model_id: str
    provider_id: str
    provider_model_id: str
    kind: str
    metadata: Mapping[str, Any]
    created: int | None = None
    fallback: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = model_names(self.provider_id, self.model_id, self.provider_model_id, self.aliases)
        object.__setattr__(self, "names", names)

    @property
    def names_others(self) -> bool:
        """True if another model may answer in the place of this one."""
        return bool(self.fallback or self.weights)

    @property
    def alone(self) -> Model:
        """The same model, for which no other answers."""
        return replace(self, fallback=(), weights={})

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.names[0]

    @property
    def dimensions(self) -> int | None:
        """The numbers of one of its embeddings, where its metadata says how many."""
        return self._number("embedding_dimension")

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of one text, where its metadata says so."""
        return self._number("context_length")

    def _number(self, member: str) -> int | None:
        given = self.metadata.get(member)
        return given if type(given) is int and given > 0 else None
