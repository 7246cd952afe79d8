"""The provider of `agents`: where responses are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from server.config.base import StrictModel
from server.config.providers import ProviderConfig, ProviderSettings
from server.config.storage import Namespace, Table
from server.config.types import one_of


class Persistence(StrictModel):
    """The places of what agents keep: of responses, and of their state, which this version has none of."""

    agent_state: Namespace | None = None
    responses: Table | None = None


class AgentsSettings(ProviderSettings):
    """The settings of `inline::builtin`."""

    persistence: Persistence = Persistence()


class AgentsProvider(ProviderConfig):
    """The server itself, which answers as an agent by the models of `inference`."""

    provider_type: Annotated[Literal["inline::builtin"], one_of("inline::builtin")]
    config: AgentsSettings = AgentsSettings()
