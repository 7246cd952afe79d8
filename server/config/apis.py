"""`apis` and `providers`: which APIs the server offers, and the provider instances behind each."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import GetCoreSchemaHandler, GetPydanticSchema, Tag
from pydantic_core import CoreSchema, core_schema

from server.config.fields import Refused, one_of, text
from server.config.later_providers import AgentsProvider, BedrockProvider, FaissProvider, LlamaGuardProvider
from server.config.providers import EchoProvider, OllamaProvider, OpenAIProvider, ProviderConfig, VllmProvider
from server.config.shape import Shape, chosen_by

SERVED_APIS: Final = ("inference",)
"""What this version serves."""

_ALL_APIS: Final = ("agents", "inference", "safety", "vector_io")

