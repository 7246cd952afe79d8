"""The server with shields, in front of a model that judges and of a real OPA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.bedrock_stub import IDENTITY, REGION, SECRET, Stub, bedrock
from tests.support.callers import ALICE
from tests.support.configured_server import own_folder
from tests.support.judge_server import Judge, judging
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

CONFIG = """
    version: 2
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "JUDGE"}}
      - {provider_id: guards, provider_type: remote::vllm, config: {url: "JUDGE"}}
      safety:
      - {provider_id: llama-guard, provider_type: inline::llama-guard}
      - {provider_id: words, provider_type: inline::keyword}
      - provider_id: aws
        provider_type: remote::bedrock
        config: {region: REGION, base_url: "BEDROCK", aws_access_key_id: IDENTITY, aws_secret_access_key: SECRET}
    storage:
      backends: {kv: {type: kv_sqlite, db_path: "FOLDER/kv.db"}}
      stores: {metadata: {backend: kv, namespace: n}}
    models:
    - {model_id: gpt, provider_id: far}
    - {model_id: open-guard, provider_id: guards}
    - {model_id: meta-llama/Llama-Guard-3-8B, provider_id: guards}
    - {model_id: meta-llama/Llama-Guard-3-1B, provider_id: guards}
    - {model_id: meta-llama/Meta-Llama-Guard-2-8B, provider_id: guards}
    - {model_id: meta-llama/Llama-Guard-4-12B, provider_id: guards}
    - {model_id: LlamaGuard-7b, provider_id: guards}
    shields:
    - {shield_id: guard, provider_id: llama-guard, provider_shield_id: meta-llama/Llama-Guard-3-8B}
    - {provider_id: llama-guard, provider_shield_id: guards/meta-llama/Meta-Llama-Guard-2-8B}
    - {shield_id: guard-4, provider_id: llama-guard, provider_shield_id: meta-llama/Llama-Guard-4-12B}
    - shield_id: raw
      provider_id: llama-guard
      provider_shield_id: LlamaGuard-7b
      params: {transport: completions, message: "this is against the rules"}
    - shield_id: small
      provider_id: llama-guard
      provider_shield_id: meta-llama/Llama-Guard-3-1B
      params: {excluded_categories: [S6], timeout: 1}
    - {shield_id: lenient, provider_id: llama-guard, provider_shield_id: open-guard}
    - shield_id: words
      provider_id: words
      params: {words: [Falcon, "grey  goose"], categories: {violence: [smash]}}
    - {shield_id: aws, provider_id: aws, provider_shield_id: abc123, params: {guardrailVersion: 3}}
    - shield_id: grounded
      provider_id: aws
      provider_shield_id: abc123
      params: {guardrailVersion: 3, grounding: true}
    - {shield_id: hidden, provider_id: words, params: {words: [secret]}}
    safety: {default_shield_id: guard}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy: POLICY
"""
POLICY = """
        - permit: {actions: [create, read, update, delete]}
          when: user with admin in roles
        - forbid: {actions: [read], resource: "shield::hidden"}
        - forbid: {actions: [read], resource: "regex:model::.*uard.*"}
        - permit: {actions: [read]}
          when: resource is from config
        - permit: {actions: [read, delete]}
          when: user is owner
        - permit: {actions: [create], resource: "shield::*"}
"""
"""Nobody but an admin may read the models that judge."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The running server, the models behind it, and the guardrails."""

    house: Decided
    judge: Judge
    stub: Stub

    def post(self, path: str, body: Any, caller: str = ALICE) -> Answer:
        """The answer to a body."""
        return self.house.address.post(path, body, caller)

    def moderated(self, *texts: str, model: str | None = None) -> list[dict[str, Any]]:
        """The results of moderations."""
        named = {} if model is None else {"model": model}
        answer = self.post("/v1/moderations", {"input": [*texts], **named})
        assert answer.status == 200, answer.body
        results: list[dict[str, Any]] = answer.json["results"]
        return results

    def run(self, shield: str, *messages: dict[str, Any], caller: str = ALICE) -> Answer:
        """The answer of a shield to a conversation."""
        return self.post("/v1/safety/run-shield", {"shield_id": shield, "messages": [*messages]}, caller)

    def violation(self, shield: str, *messages: dict[str, Any]) -> Any:
        """What a shield has against a conversation."""
        answer = self.run(shield, *messages)
        assert answer.status == 200, answer.body
        return answer.json["violation"]


def said(text: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": text, **more}


@contextmanager
def guarded(opa: Path, folder: Path, text: str = CONFIG, policy: str = POLICY) -> Iterator[Guarded]:
    """The server with that configuration."""
    runtime = own_folder(folder)
    with judging() as judge, bedrock() as stub:
        places = {
            "JUDGE": judge.url,
            "BEDROCK": stub.url,
            "FOLDER": str(folder),
            "REGION": REGION,
            "IDENTITY": IDENTITY,
            "SECRET": SECRET,
            "POLICY": policy,
        }
        for name, value in places.items():
            text = text.replace(name, value)
        with decided(text, opa, runtime, authenticator=ByToken()) as house:
            yield Guarded(house, judge, stub)
