"""A server whose responses have tools: vector stores in a real database, a scripted model, and a real OPA in front."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import filled, own_database, own_folder
from tests.support.files_server import BOUNDARY
from tests.support.real_policy import decided
from tests.support.responses_server import Responding
from tests.support.vector_server import STORES

CONFIG = """
    version: 2
    apis: [inference, agents, vector_io]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      agents:
      - provider_id: builtin
        provider_type: inline::builtin
        config:
          persistence:
            agent_state: {backend: kv, namespace: agents}
            responses: {backend: sql, table_name: answers}
    models:
    - {model_id: words, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
    - {model_id: small, provider_id: echo}
    storage:
      backends:
        sql: SQL
        kv: KV
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        metadata: {backend: kv, namespace: registry}
      blobs: {type: local, path: BLOBS}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: "*"}
        access_policy:
"""
MODELS = """\
        - permit: {actions: [read], resource: "model::*"}
"""


class Tooled(Responding):
    """The running server, and the vector stores of its callers."""

    __slots__ = ()

    def got(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Any:
        """What a request that succeeds is answered with."""
        answer = self.ask(method, target, body, caller)
        assert answer.status == 200, answer.body
        return answer.json

    def store(self, *texts: str, caller: str = ALICE, **members: Any) -> str:
        """The id of a vector store with files of these texts, once they are taken in."""
        identity = str(self.got("POST", STORES, members, caller)["id"])
        for text in texts:
            self.put(identity, text, caller)
        return identity

    def put(self, store: str, text: str, caller: str = ALICE, name: str = "notes.txt", **members: Any) -> str:
        """The id of a file with that text, once it is in the store."""
        form = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--{BOUNDARY}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{text}\r\n--{BOUNDARY}--\r\n'
        )
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        uploaded = self.house.address.post("/v1/files", form.encode(), caller, kind=kind)
        assert uploaded.status == 200, uploaded.body
        file_id = str(uploaded.json["id"])
        files = f"{STORES}/{store}/files"
        self.got("POST", files, {"file_id": file_id, **members}, caller)
        until = time.monotonic() + 60
        while (found := self.got("GET", f"{files}/{file_id}", None, caller))["status"] == "in_progress":
            assert time.monotonic() < until, found
            time.sleep(0.02)
        assert found["status"] == "completed", found
        return file_id


def calling(name: str, *arguments: Any, **more: Any) -> str:
    """A script of a model that calls a tool once for each of the `arguments`, beside each other."""
    return dumps({"echo": {"tool_calls": [{"name": name, "arguments": each} for each in arguments], **more}})


def file_search(*stores: str, **members: Any) -> list[dict[str, Any]]:
    """The tools of a request that searches these stores."""
    return [{"type": "file_search", "vector_store_ids": [*stores], **members}]


def looking_for(*queries: str, **more: Any) -> str:
    """A script of a model that searches for each of the queries."""
    return calling("file_search", *[{"queries": [query]} for query in queries], **more)


def told(place: Tooled, text: str, stores: list[dict[str, Any]], caller: str = ALICE) -> list[dict[str, Any]]:
    """What the model is told by the last search: it repeats that."""
    response = place.made(text, caller, tools=stores)
    found = loads(response["output"][-1]["content"][0]["text"].removeprefix("echo: "))
    results: list[dict[str, Any]] = found["results"]
    return results


@contextmanager
def tooled(
    opa: Path, folder: Path, postgres: str | None = None, *, rules: str = MODELS + OWN, text: str = CONFIG
) -> Iterator[Tooled]:
    """The server over SQLite, or over a database of its own in the PostgreSQL at that address."""
    runtime = own_folder(folder)
    with own_database(runtime, postgres) as database:
        config = filled(text + rules, database, runtime)
        with decided(config, opa, runtime, authenticator=ByToken()) as house:
            yield Tooled(house, database)
