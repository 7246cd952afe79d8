"""Provider types of the specification that this version lacks: validated, then refused by name."""

from __future__ import annotations

from typing import Annotated, Literal

from server.config.base import StrictModel
from server.config.providers import ProviderConfig, ProviderSettings
from server.config.storage import Namespace, SqliteStore, Table
from server.config.types import Secret, not_yet, one_of


class FaissSettings(ProviderSettings):
    """`inline::faiss`: the storage of the index."""

    kvstore: SqliteStore


class FaissProvider(ProviderConfig):
    """A vector index in this process."""

    provider_type: Annotated[
        Literal["inline::faiss"], one_of("inline::faiss"), not_yet("vector_io: `inline::faiss` is")
    ]
    config: FaissSettings


class LlamaGuardSettings(ProviderSettings):
    """`inline::llama-guard` has no settings."""


class LlamaGuardProvider(ProviderConfig):
    """Safety judged by a Llama Guard model that an inference provider serves."""

    provider_type: Annotated[
        Literal["inline::llama-guard"], one_of("inline::llama-guard"), not_yet("safety: `inline::llama-guard` is")
    ]
    config: LlamaGuardSettings = LlamaGuardSettings()


class BedrockSettings(ProviderSettings):
    """`remote::bedrock`. Without keys, those of the machine's environment hold."""

    aws_access_key_id: Secret | None = None
    aws_secret_access_key: Secret | None = None


class BedrockProvider(ProviderConfig):
    """Safety judged by Bedrock Guardrails."""

    provider_type: Annotated[
        Literal["remote::bedrock"], one_of("remote::bedrock"), not_yet("safety: `remote::bedrock` is")
    ]
    config: BedrockSettings = BedrockSettings()


class AgentsPersistence(StrictModel):
    """The storage of agents and their responses."""

    agent_state: Namespace
    responses: Table


class AgentsSettings(ProviderSettings):
    """`inline::builtin`."""

    persistence: AgentsPersistence


class AgentsProvider(ProviderConfig):
    """Agents and responses, run by this server."""

    provider_type: Annotated[
        Literal["inline::builtin"], one_of("inline::builtin"), not_yet("agents: `inline::builtin` is")
    ]
    config: AgentsSettings
