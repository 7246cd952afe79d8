"""A server that verifies tokens with the keys of a real issuer, at a moment of the test's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from tests.support.real_policy import Decided, decided
from tests.support.token_attacks import World
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, KeyServer, jwk_set, key_server

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: secret, provider_id: echo}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: FOLDER/records.db}
      stores:
        conversations: {backend: sql, table_name: openai_conversations}
    server:
      auth:
        provider_config: PROVIDER
        access_policy:
        - permit: {actions: [read], resource: "model::secret"}
          when: user with admin in roles
        - permit: {actions: [read], resource: "model::open"}
        - permit: {actions: [create], resource: "sql_record::openai_conversations::*"}
        - permit: {actions: [read], resource: "sql_record::openai_conversations::*"}
          when: user is owner
"""
UNUSED = '{type: custom, endpoint: "https://auth.example.com/validate"}'


@dataclass
class Clock:
    """Seconds that never run backwards, as the test wants them."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Issued:
    """A server, and the issuer whose keys it verifies tokens with."""

    running: Decided
    keys: KeyServer
    world: World
    clock: Clock

    def status(self, token: str, *more: str) -> int:
        """What the bearer of a token gets."""
        return self.running.address.get("/v1/models", f"Authorization: Bearer {token}", *more).status


@contextmanager
def issuing(world: World, opa: Path, folder: Path) -> Iterator[Issued]:
    with key_server() as keys:
        keys.content = jwk_set(world.ec, world.rsa)
        clock = Clock()
        settings = OAuth2Settings(keys.url, issuer=ISSUER, audience=AUDIENCE, key_recheck_seconds=600.0)
        identity = OAuth2Authenticator(settings, now=lambda: NOW, clock=clock)
        text = CONFIG.replace("PROVIDER", UNUSED).replace("FOLDER", str(folder))
        with decided(text, opa, folder, authenticator=identity) as running:
            yield Issued(running, keys, world, clock)
