"""A server with files and vector stores in a real database, and a real OPA in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ADMIN, ALICE, OWN
from tests.support.configured_server import filled, own_folder
from tests.support.databases import rows
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

STORES = "/v1/vector_stores"

CONFIG = """
    version: 2
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: words, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
    - {model_id: talk, provider_id: echo}
    storage:
      backends:
        sql: SQL
        kv: KV
      stores:
        files: {backend: sql, table_name: files_TOKEN}
        metadata: {backend: kv, namespace: TOKEN}
      blobs: {type: local, path: BLOBS}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "*"}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
        - permit: {actions: [create, read, update, delete]}
          when: user with admin in roles
        - forbid: {actions: [read], resource: "model::echo/secret"}
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [read, update], resource: "regex:vector_store::shared-.*"}
"""
"""`stranger` may not use the routes, `admin` may do anything and alone reads the model `secret`, and everyone may fill
the stores whose ids begin with `shared-`; `OWN` follows.
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """The running server, the database of its records, and the table of its stores."""

    house: Decided
    database: str
    table: str

    def ask(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Answer:
        """The answer to a request; `target` stands behind the path of vector stores."""
        return self.house.address.ask(method, f"{STORES}{target}", caller, body=body)

    def got(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Any:
        """What a request that succeeds is answered with."""
        answer = self.ask(method, target, body, caller)
        assert answer.status == 200, answer.body
        return answer.json

    def made(self, caller: str = ALICE, **members: Any) -> str:
        """The id of a new store."""
        return str(self.got("POST", "", members, caller)["id"])

    def registered(self, name: str, caller: str = ALICE, **members: Any) -> Answer:
        """The answer to the registration of a store under a name."""
        body = {"vector_db_id": name, "embedding_model": "echo/words", **members}
        return self.house.address.ask("POST", "/v1/vector-dbs", caller, body=body)

    def file(self, content: bytes = b"hello", caller: str = ALICE) -> str:
        """The id of a new file."""
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        answer = self.house.address.post("/v1/files", form_of(content), caller, kind=kind)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def deleted(self, file_id: str, caller: str = ALICE) -> None:
        """Delete a file."""
        assert self.house.address.ask("DELETE", f"/v1/files/{file_id}", caller).status == 200

    def attached(self, store: str, caller: str = ALICE, **members: Any) -> str:
        """The id of a new file of the caller's that is attached to a store."""
        file_id = self.file(token_hex(8).encode(), caller)
        self.got("POST", f"/{store}/files", {"file_id": file_id, **members}, caller)
        return file_id

    def listed(self, target: str, caller: str = ALICE) -> list[str]:
        """The ids in a list."""
        return [entry["id"] for entry in self.got("GET", target, None, caller)["data"]]

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement finds or does behind the server's back; `TABLE` begins the names of what stores have."""
        return rows(self.database, statement.replace("TABLE", self.table))

    def last_used(self, store: str, at: int) -> None:
        """Let a store have been used for the last time then."""
        now = f'"last_active_at":{self.got("GET", f"/{store}", None, ADMIN)["last_active_at"]}'
        then = f'"last_active_at":{at}'
        self.run(f"UPDATE \"TABLEs\" SET body = replace(body, '{now}', '{then}') WHERE id = '{store}'")  # noqa: S608 - the test's own


def new_token() -> str:
    """A word for names of tables, which YAML never takes for a number."""
    return f"t{token_hex(6)}"


@contextmanager
def holding(
    opa: Path, folder: Path, postgres: str | None = None, *, text: str = CONFIG, token: str = ""
) -> Iterator[Holding]:
    """The server over SQLite, or PostgreSQL at that address; two of one `token` share what they keep."""
    database, token = postgres or str(folder / "records.db"), token or new_token()
    config = filled(text + OWN, database, folder, TOKEN=token)
    runtime = own_folder(folder)
    with decided(config, opa, runtime, authenticator=ByToken()) as house:
        body = {"model_id": "secret", "provider_id": "echo", "model_type": "embedding"}
        assert house.address.ask("POST", "/v1/models", ADMIN, body=body).status in (200, 409)
        yield Holding(house, database, f"kv_{token}_vector_store")
