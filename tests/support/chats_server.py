"""A server that stores chats and prompts in a real database, with a real OPA in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import own_folder
from tests.support.databases import backend, rows
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

CHATS, PROMPTS = "/v1/chat/completions", "/v1/prompts"

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}
    models:
    - {model_id: small, provider_id: echo, provider_model_id: small-1}
    - {model_id: other, provider_id: echo, provider_model_id: other-1}
    - {model_id: secret, provider_id: echo, provider_model_id: secret-1}
    MODELS
    storage:
      backends:
        sql: SQL
        kv: KV
      stores:
        inference: {backend: sql, table_name: CHATS, max_write_queue_size: QUEUE}
        prompts: {backend: kv, namespace: PROMPTS}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: [/v1/chat/completions*, /v1/prompts*]}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::secret"}
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [update], resource: "sql_record::chat_completions"}
          when: user with blind in roles
"""
"""`blind` may change what it may not read. `stranger` may not use the routes; `OWN` follows."""

FAR = ("m", "gated", "sleepy", "silent", "dies", "stops", "garbage", "errs", "nan", "status-500", "no-choices")
"""Models of the upstream server."""


@dataclass(frozen=True, slots=True)
class Chatting:
    """The running server, its database, and its two tables."""

    house: Decided
    database: str
    chats: str
    prompts: str

    def ask(self, method: str, target: str, caller: str = ALICE, body: Any = None) -> Answer:
        """The answer to a request."""
        return self.house.address.ask(method, target, caller, body=body)

    def chat(self, caller: str = ALICE, *, model: str = "small", text: str = "hi", **more: Any) -> Answer:
        """The answer to a chat that is to be stored, unless `more` says otherwise."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "store": True, **more}
        return self.ask("POST", CHATS, caller, body)

    def stored(self, caller: str = ALICE, **more: Any) -> str:
        """The id of a new stored chat."""
        answer = self.chat(caller, **more)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def prompt(self, caller: str = ALICE, text: str = "Hello, {{ name }}!", *variables: str) -> str:
        """The id of a new prompt."""
        answer = self.ask("POST", PROMPTS, caller, {"prompt": text, "variables": [*(variables or ("name",))]})
        assert answer.status == 200, answer.body
        return str(answer.json["prompt_id"])

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Id, owner and issuer of everything in a table."""
        statement = f"SELECT id, owner_principal, owner_issuer FROM {table} ORDER BY id"  # noqa: S608 - the test's own
        return rows(self.database, statement)

    def column(self, table: str, column: str, identity: str) -> Any:
        """One value of a row."""
        statement = f"SELECT {column} FROM {table} WHERE id = '{identity}'"  # noqa: S608 - the test's own
        return rows(self.database, statement)[0][0]


@contextmanager
def chatting(
    opa: Path,
    folder: Path,
    postgres: str | None = None,
    *,
    start: bool = True,
    upstream: str = "http://127.0.0.1:9",
    queue: int = 100,
    like: Chatting | None = None,
) -> Iterator[Chatting]:
    """The server over SQLite, or PostgreSQL at that address; `like` another one, it keeps in the same tables."""
    chats = f"chats_{token_hex(6)}"
    # With a letter in front, for YAML reads some of these numbers as such.
    prompts, database = f"kv_p{token_hex(6)}", postgres or str(folder / "records.db")
    if like is not None:
        chats, prompts, database = like.chats, like.prompts, like.database
    text = config_of(database, chats, prompts, upstream=upstream, queue=queue)
    runtime = own_folder(folder)
    with decided(text, opa, runtime, authenticator=ByToken(), start=start) as house:
        yield Chatting(house, database, chats, prompts)


def config_of(
    database: str, chats: str, prompts: str, *, upstream: str = "http://127.0.0.1:9", queue: int = 100
) -> str:
    """The configuration of a server that keeps in these tables."""
    models = [f"- {{model_id: {name}, provider_id: far, provider_model_id: {name}}}" for name in FAR]
    return (
        (CONFIG + OWN)
        .replace("SQL", backend(database))
        .replace("KV", backend(database, "kv"))
        .replace("CHATS", chats)
        .replace("PROMPTS", prompts.removeprefix("kv_"))
        .replace("MODELS", "\n    ".join(models))
        .replace("QUEUE", str(queue))
        .replace("URL", upstream)
    )
