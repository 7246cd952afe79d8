"""A server that stores chats and prompts in a real database, with a real OPA in front of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.http.decided import Decided, decided
from tests.http.house import ByToken
from tests.http.serving import Answer, parsed

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
        - forbid: {actions: [create]}
          when: user with reader in roles
        - permit: {actions: [read]}
          when: user with reader in roles
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [create]}
"""
"""`stranger` may not use the routes, `reader` may read everything and change nothing, others have what they make."""

FAR = ("m", "gated", "sleepy", "silent", "dies", "stops", "garbage", "errs", "nan", "status-500", "no-choices")
"""Models of the upstream server."""


def bearer(name: str) -> str:
    """The header of whoever is called so."""
    return f"Authorization: Bearer {name}"


ALICE, BOB, READER, STRANGER = map(bearer, ("alice", "bob", "reader", "stranger"))


@dataclass(frozen=True, slots=True)
class Chatting:
    """The running server, its database, and its two tables."""

    house: Decided
    database: str
    chats: str
    prompts: str

    def ask(self, method: str, target: str, caller: str = ALICE, body: Any = None) -> Answer:
        """The answer to a request."""
        raw = b"" if body is None else body if isinstance(body, bytes) else dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: here", caller]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        request = "\r\n".join([*lines, "", ""]).encode() + raw
        return parsed(self.house.address.exchange(request, head_only=method == "HEAD"))

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
        return asyncio.run(
            run(self.database, f"SELECT id, owner_principal, owner_issuer FROM {table} ORDER BY id")  # noqa: S608 - the test's own
        )

    def column(self, table: str, column: str, identity: str) -> Any:
        """One value of a row."""
        statement = f"SELECT {column} FROM {table} WHERE id = '{identity}'"  # noqa: S608 - the test's own
        return asyncio.run(run(self.database, statement))[0][0]


async def run(database: str, statement: str) -> list[tuple[Any, ...]]:
    """Do something behind the server's back."""
    if not database.startswith("postgresql:"):
        with closing(sqlite3.connect(database)) as connection, connection:
            return connection.execute(statement).fetchall()
    opened = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await opened.fetch(statement)]
    finally:
        await opened.close()


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
    chats, space = f"chats_{token_hex(6)}", token_hex(6)
    prompts, database = f"kv_{space}", postgres or str(folder / "records.db")
    if like is not None:
        chats, prompts, database = like.chats, like.prompts, like.database
    text = config_of(database, chats, prompts, upstream=upstream, queue=queue)
    runtime = folder / token_hex(4)
    runtime.mkdir()
    with decided(text, opa, runtime, authenticator=ByToken(), start=start) as house:
        yield Chatting(house, database, chats, prompts)


def config_of(
    database: str, chats: str, prompts: str, *, upstream: str = "http://127.0.0.1:9", queue: int = 100
) -> str:
    """The configuration of a server that keeps in these tables."""
    models = [f"- {{model_id: {name}, provider_id: far, provider_model_id: {name}}}" for name in FAR]
    return (
        CONFIG.replace("SQL", _backend("sql", database))
        .replace("KV", _backend("kv", database))
        .replace("CHATS", chats)
        .replace("PROMPTS", prompts.removeprefix("kv_"))
        .replace("MODELS", "\n    ".join(models))
        .replace("QUEUE", str(queue))
        .replace("URL", upstream)
    )


def _backend(kind: str, database: str) -> str:
    if not database.startswith("postgresql:"):
        return f"{{type: {kind}_sqlite, db_path: {database}}}"
    parts = urlsplit(database)
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    password = f", password: {parts.password}" if parts.password else ""
    return (
        f"{{type: {kind}_postgres, host: {host}, port: {parts.port or 5432}, db: {parts.path[1:]}, "
        f"user: {parts.username}{password}}}"
    )


def like_any_other(answer: Answer, *names: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs from one request to the next, be it the `names` that were asked for."""
    own = ("x-request-id", "openai-processing-ms", "date")
    body = answer.body
    for name in names:
        body = body.replace(name.encode(), b"X" * len(name))
    return answer.status, {name: value for name, value in answer.headers.items() if name not in own}, body
