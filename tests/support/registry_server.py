"""A server with a registry in a real database and a real OPA in front of it, and what to register there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from server.authn import Authenticator
from tests.support.application import ByToken
from tests.support.callers import ALICE
from tests.support.configured_server import own_folder
from tests.support.databases import backend
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer, parsed

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: inner, provider_type: inline::echo}
    storage:
      backends:
        kv: BACKEND
      stores:
        metadata: {backend: kv, namespace: NAMESPACE}
    models: MODELS
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "*"}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy: POLICY
"""
MODELS = "[{model_id: open, provider_id: echo, provider_model_id: open-1}, {model_id: secret, provider_id: inner}]"
POLICY = """
        - permit: {actions: [create, read, update, delete]}
          when: user with admin in roles
        - forbid: {actions: [read], resource: "model::secret"}
        - forbid: {actions: [read], resource: "provider::inner"}
        - permit: {actions: [read]}
          when: resource is from config
        - forbid: {actions: [create, update, delete]}
          when: resource is from config
        - forbid: {actions: [create]}
          when: user with reader in roles
        - permit: {actions: [read]}
          when: user with reader in roles
        - forbid: {actions: [create], resource: "regex:.*::reserved.*"}
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [create]}
"""
"""`stranger` may not use the routes, `reader` reads everything and changes nothing, `admin` may do anything, and others
have what they register, under names that do not begin with `reserved`."""


@dataclass(frozen=True, slots=True)
class Registering:
    """What to send to register something of one kind: the path, the member with the name, and the rest."""

    path: str
    member: str
    others: dict[str, Any]

    def body(self, name: str, **more: Any) -> dict[str, Any]:
        """A whole body."""
        return {self.member: name, **self.others, **more}


RETURNED = {"type": "number"}
ROWS = {"type": "rows", "rows": [{"question": "1+1", "answer": "2"}]}
ENTRIES = {
    "shield": Registering("/v1/shields", "shield_id", {"provider_id": "guard", "params": {"level": 3}}),
    "vector_store": Registering("/v1/vector-dbs", "vector_db_id", {"embedding_model": "e5", "embedding_dimension": 8}),
    "tool_group": Registering("/v1/toolgroups", "toolgroup_id", {"mcp_endpoint": {"uri": "http://a/sse"}, "args": {}}),
    "dataset": Registering("/v1/datasets", "dataset_id", {"purpose": "eval/question-answer", "source": ROWS}),
    "scoring_function": Registering(
        "/v1/scoring-functions", "scoring_fn_id", {"description": "how equal", "return_type": RETURNED}
    ),
    "benchmark": Registering(
        "/v1/eval/benchmarks", "benchmark_id", {"dataset_id": "d", "scoring_functions": ["f"], "metadata": {"a": [1]}}
    ),
}
KINDS = {**ENTRIES, "model": Registering("/v1/models", "model_id", {"provider_id": "echo"})}
_BY_TOKEN = ByToken()
VARYING = {"x-request-id", "request-id", "openai-processing-ms", "date", "content-length"}


@dataclass(frozen=True, slots=True)
class Registry:
    """The running server, and where its registry lies."""

    house: Decided
    database: str
    namespace: str

    def register(self, kind: str, name: str, caller: str = ALICE, **more: Any) -> Answer:
        """The answer to a registration."""
        return self.post(KINDS[kind].path, KINDS[kind].body(name, **more), caller)

    def post(self, path: str, body: Any, *headers: str) -> Answer:
        """The answer to a body."""
        return self.house.address.post(path, body, *headers)

    def registered(self, kind: str, caller: str = ALICE, **more: Any) -> str:
        """The id of something new."""
        answer = self.register(kind, f"n-{token_hex(6)}", caller, **more)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def get(self, kind: str, name: str = "", caller: str = ALICE, method: str = "GET") -> Answer:
        """The answer about one of a kind; without a name, about all."""
        target = KINDS[kind].path + (f"/{quote(name, safe='')}" if name else "")
        return self.house.address.get(target, caller, method=method)

    def listed(self, kind: str, caller: str = ALICE, query: str = "") -> list[str]:
        """The ids in a list."""
        answer = self.house.address.get(f"{KINDS[kind].path}{query}", caller)
        assert answer.status == 200, answer.body
        return [entry["id"] for entry in answer.json["data"]]

    def chat(self, model: str, caller: str = ALICE) -> Answer:
        """The answer of a model."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return self.post("/v1/chat/completions", body, caller)


@contextmanager
def registry(
    opa: Path,
    folder: Path,
    postgres: str | None = None,
    *,
    start: bool = True,
    models: str = MODELS,
    policy: str = POLICY,
    like: Registry | None = None,
    authenticator: Authenticator | None = _BY_TOKEN,
    text: str = CONFIG,
) -> Iterator[Registry]:
    """The server over SQLite, or PostgreSQL at that address; `like` another one, it keeps in the same place."""
    database = postgres or str(folder / "var" / "registry.db")
    namespace = f"r-{token_hex(6)}"
    if like is not None:
        database, namespace = like.database, like.namespace
    config = (
        text.replace("BACKEND", backend(database, "kv"))
        .replace("NAMESPACE", namespace)
        .replace("MODELS", models)
        .replace("POLICY", policy)
    )
    runtime = own_folder(folder)
    with decided(config, opa, runtime, authenticator=authenticator, start=start) as house:
        yield Registry(house, database, namespace)


def without_names(answer: Answer, *names: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs from one request to the next, and without the names."""
    body = answer.body.replace(answer.headers["x-request-id"].encode(), b"ID")
    for name in names:
        body = body.replace(dumps(name, ensure_ascii=False)[1:-1].encode(), b"NAME")
    return answer.status, {key: value for key, value in answer.headers.items() if key not in VARYING}, body


def at_once(registry: Registry, requests: list[bytes]) -> list[Answer]:
    """The answers to requests that are all under way together."""

    def ask(request: bytes) -> Answer:
        # On a busy machine OPA may be late for some of many; then nothing was done, and they are made again.
        answers = (parsed(registry.house.address.exchange(request)) for _ in range(20))
        return next(answer for answer in answers if answer.status != 503)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))
