"""A server that keeps conversations in a real database, with a real OPA in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import filled, own_database, own_folder
from tests.support.databases import rows
from tests.support.files_server import BOUNDARY, form_of
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

CONVERSATIONS = "/v1/conversations"
NOBODYS = "conv_" + "0" * 48
NO_ITEM = "msg_" + "0" * 48

_CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: llama, provider_id: echo}
    storage:
      backends:
        sql: SQL
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
      blobs: {type: local, path: BLOBS}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: /v1/conversations*}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
"""


@dataclass(frozen=True, slots=True)
class Talking:
    """The running server, and where its database is."""

    house: Decided
    database: str

    def ask(self, method: str, path: str, body: Any = None, caller: str = ALICE) -> Answer:
        """The answer to a request; `path` is what follows `/v1/conversations`."""
        return self.house.address.ask(method, CONVERSATIONS + path, caller, body=body, timeout=PATIENCE)

    def get(self, path: str, caller: str = ALICE) -> Answer:
        """The answer to a GET."""
        return self.ask("GET", path, None, caller)

    def post(self, path: str, body: Any, caller: str = ALICE) -> Answer:
        """The answer to a POST."""
        return self.ask("POST", path, body, caller)

    def delete(self, path: str, caller: str = ALICE) -> Answer:
        """The answer to a DELETE."""
        return self.ask("DELETE", path, None, caller)

    def made(self, caller: str = ALICE, **body: Any) -> str:
        """The id of a new conversation."""
        answer = self.post("", body, caller)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def added(self, conversation: str, *items: Any, caller: str = ALICE) -> list[str]:
        """The ids of new items; a text is what a user says."""
        listed = [said(item) if isinstance(item, str) else item for item in items]
        answer = self.post(f"/{conversation}/items", {"items": listed}, caller)
        assert answer.status == 200, answer.body
        return [item["id"] for item in answer.json["data"]]

    def file(self, caller: str = ALICE) -> str:
        """The id of a new file."""
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        answer = self.house.address.post("/v1/files", form_of(b"hello"), caller, kind=kind)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is really there."""
        return rows(self.database, statement)

    def count(self) -> tuple[int, int]:
        """How many conversations and items there are."""
        return tuple(  # type: ignore[return-value]
            self.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - the test's own
            for table in ("openai_conversations", "conversation_items")
        )


@contextmanager
def talking(
    opa: Path, folder: Path, postgres: str | None = None, *, policy: str = OWN, start: bool = True
) -> Iterator[Talking]:
    """The server over SQLite, or over a database of its own in the PostgreSQL at that address."""
    runtime = own_folder(folder)
    with own_database(runtime, postgres) as database:
        text = filled(_CONFIG, database, runtime)
        with decided(text + policy, opa, runtime, authenticator=ByToken(), start=start) as house:
            yield Talking(house, database)


def said(text: str, role: str = "user", **more: Any) -> dict[str, Any]:
    """A message."""
    return {"type": "message", "role": role, "content": text, **more}
