"""The model of registered models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticUseDefault

from policy.model_names import model_names
from server.config.base import StrictModel
from server.config.types import Anything, Text, one_of


def _null_is_the_default(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


class ModelConfig(StrictModel):
    """A model and the provider instance that runs it.

    `provider_model_id` is the provider's name for it: `model_id`, unless the file says otherwise.
    """

    model_id: Text
    provider_id: Text
    provider_model_id: Annotated[Text, BeforeValidator(_null_is_the_default)] = Field(
        default_factory=lambda valid: str(valid["model_id"])
    )
    model_type: Annotated[Literal["embedding", "llm"], one_of("embedding", "llm")] = "llm"
    metadata: dict[str, Anything] = Field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that requests and rules may use, the canonical `provider_id/provider_model_id` first."""
        return model_names(self.provider_id, self.model_id, self.provider_model_id)
