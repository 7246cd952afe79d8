"""The model of registered models."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticUseDefault

from policy.model_choices import MOST_ALIASES, MOST_NAMED, MOST_WEIGHT
from policy.model_names import model_names
from server.config.base import StrictModel
from server.config.types import Anything, Text, one_of, refusal, whole_number


def _null_is_the_default(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


def _few(value: Named) -> Named:
    if len(value) > MOST_NAMED:
        raise refusal("wrong-value", f"takes at most {MOST_NAMED} names of models")
    return value


def _few_aliases(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > MOST_ALIASES:
        raise refusal("wrong-value", f"takes at most {MOST_ALIASES} names")
    return value


def _some_weight(value: dict[str, int]) -> dict[str, int]:
    if value and not any(value.values()):
        raise refusal("wrong-value", "needs a weight above 0")
    return value


Named = TypeVar("Named", tuple[str, ...], dict[str, int])

Weight = Annotated[int, whole_number(0, MOST_WEIGHT)]
"""How often a model is chosen, in proportion to the weights of others."""


class ModelConfig(StrictModel):
    """A model and the provider instance that runs it.

    `aliases` are further names. `fallback` names models that are asked where this one gives no answer, `weights` those
    among which its requests are divided. `provider_model_id` is the provider's name for it: `model_id`, unless the file
    says otherwise.
    """

    model_id: Text
    provider_id: Text
    provider_model_id: Annotated[Text, BeforeValidator(_null_is_the_default)] = Field(
        default_factory=lambda valid: str(valid["model_id"])
    )
    model_type: Annotated[Literal["embedding", "llm"], one_of("embedding", "llm")] = "llm"
    metadata: dict[str, Anything] = Field(default_factory=dict)
    aliases: Annotated[tuple[Text, ...], AfterValidator(_few_aliases)] = ()
    fallback: Annotated[tuple[Text, ...], AfterValidator(_few)] = ()
    weights: Annotated[dict[str, Weight], AfterValidator(_few), AfterValidator(_some_weight)] = Field(
        default_factory=dict
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that requests and rules may use, the canonical `provider_id/provider_model_id` first."""
        return model_names(self.provider_id, self.model_id, self.provider_model_id, self.aliases)

    @property
    def dimensions(self) -> int | None:
        """The number of dimensions of its embeddings, where the file says it."""
        given = self.metadata.get("embedding_dimension")
        return given if type(given) is int and given > 0 else None
