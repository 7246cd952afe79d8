"""A server with everything in it, whose every answer is held against OpenAI's document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.openapi.conformity import Conformity
from tests.openapi.document import ERROR, STREAM, operation_of
from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import filled
from tests.support.files_server import BOUNDARY, form_of
from tests.support.patience import PATIENCE
from tests.support.real_policy import decided
from tests.support.serving import Address, Answer
from tests.support.stream_client import events

_CONFIG = """
    version: 2
    apis: [inference, vector_io, tool_runtime]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}
      tool_runtime:
      - provider_id: mcp
        provider_type: remote::model-context-protocol
        config: {allowed_hosts: ["TOOLS"], allow_http: ["127.0.0.1"], allow_private: ["127.0.0.1"]}
    models:
    - {model_id: small, provider_id: echo}
    - {model_id: vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 4}}
    - {model_id: bare, provider_id: far}
    storage:
      backends:
        sql: SQL
        kv: KV
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        inference: {backend: sql, table_name: chats}
        metadata: {backend: kv, namespace: registry}
      blobs: {type: local, path: BLOBS}
      max_file_bytes: 1000
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "*"}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
        - permit: {actions: [read]}
          when: resource is from config
"""


EVENT = re.compile(rb"^event: .*\n", re.MULTILINE)
"""The line of an event that repeats its type."""


@dataclass(slots=True)
class Watched:
    """The running server, and how its answers so far conform."""

    address: Address
    tools: str = ""
    """The address of a server of tools."""
    conformity: Conformity = field(default_factory=Conformity)

    def ask(
        self, method: str, target: str, body: Any = None, caller: str = ALICE, kind: str = "application/json"
    ) -> Answer:
        """The answer to a request, which is held against the document; `target` begins with `/v1`."""
        answer = self.address.ask(method, target, *([caller] if caller else []), body=body, kind=kind, timeout=PATIENCE)
        operation, said = operation_of(method, target), answer.headers.get("content-type", "")
        schema = operation.answered(answer.status, said)
        if schema is None:
            return answer
        if STREAM not in said:
            self.conformity.add(operation, answer.status, schema, answer.json)
            return answer
        for chunk in events(EVENT.sub(b"", answer.body)):
            if chunk is not None:
                self.conformity.add(operation, answer.status, ERROR if "error" in chunk else schema, chunk)
        return answer

    def made(self, target: str, body: Any, caller: str = ALICE) -> str:
        """The id of what a POST makes."""
        answer = self.ask("POST", target, body, caller)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def upload(self, purpose: str = "assistants", content: bytes = b"hello", **fields: str) -> Answer:
        """The answer to an upload."""
        form = form_of(content, purpose=purpose, **fields)
        return self.ask("POST", "/v1/files", form, kind=f'multipart/form-data; boundary="{BOUNDARY}"')


@contextmanager
def watched(
    opa: Path, folder: Path, upstream: str = "http://127.0.0.1:9", tools: str = "http://127.0.0.1:9/mcp"
) -> Iterator[Watched]:
    """The server, over SQLite; the model `bare` is that of `upstream`, and `tools` a server of tools."""
    database = str(folder / "records.db")
    text = filled(_CONFIG + OWN, database, folder, URL=upstream, TOOLS=tools.split("/")[2])
    runtime = folder / "run"
    runtime.mkdir()
    with decided(text, opa, runtime, authenticator=ByToken()) as house:
        yield Watched(house.address, tools)
