"""A server behind a provider of identity, and what its callers may see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.wiring.authenticators import authenticator
from tests.support.real_policy import Decided, decided, read

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: model-1, provider_id: echo}
    - {model_id: model-2, provider_id: echo}
    server:
      auth:
        provider_config: PROVIDER
        access_policy: POLICY
"""
P1 = """
        - permit:
            principal: user-1
            actions: [create, read, delete]
          description: user-1 has full access to all resources
        - permit:
            principal: user-2
            actions: [read]
            resource: model::model-1
          description: user-2 has read access to model-1 only
"""


@contextmanager
def guarded(provider: str, policy: str, opa: Path, folder: Path) -> Iterator[Decided]:
    """The server with that `provider_config` (flow style) and that policy."""
    text = CONFIG.replace("PROVIDER", provider).replace("POLICY", policy)
    with decided(text, opa, folder, authenticator=authenticator(read(text).server.auth)) as running:
        yield running


def models(running: Decided, token: str | None) -> list[str] | int:
    """The models that the bearer sees, or the status of a refusal."""
    answer = running.address.get("/v1/models", *([] if token is None else [f"Authorization: Bearer {token}"]))
    if answer.status != 200:
        assert answer.error["message"]
        assert token is None or token not in answer.body.decode()
        return answer.status
    return sorted(model["id"] for model in answer.json["data"])
